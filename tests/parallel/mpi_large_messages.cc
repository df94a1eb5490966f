// Two ranks of MPI: a message of more than 2^31 bytes, and a sum of more than
// 2^31 bytes on each of them. Takes 7 GiB of memory in all.

#include <cstdint>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/transport.h"

namespace timepipe {
namespace {

constexpr int64_t kElements = (int64_t{1} << 28) + 12'345;

int64_t number(int64_t i, int64_t rank) { return (i * 7919) ^ (rank << 50); }

void check(const char* what, const std::vector<int64_t>& values,
           const auto& expected) {
  for (int64_t i = 0; i < std::ssize(values); ++i) {
    if (values[i] == expected(i)) continue;
    throw InvalidArgument(std::string(what) + ": element " + std::to_string(i) +
                          " is " + std::to_string(values[i]) + ", expected " +
                          std::to_string(expected(i)));
  }
}

void send_one(Communicator& world) {
  const Tag tag{Border::kState, Lane::kForward, 0, 1, 0};
  std::vector<int64_t> message(kElements);
  if (world.rank() == 0) {
    for (int64_t i = 0; i < kElements; ++i) message[i] = number(i, 0);
    world.transport().isend(std::as_bytes(std::span(message)), 1, tag).wait();
    return;
  }
  world.transport()
      .irecv(std::as_writable_bytes(std::span(message)), 0, tag)
      .wait();
  check("message", message, [](int64_t i) { return number(i, 0); });
}

void sum_up(Communicator& world) {
  const std::vector<int64_t> counts = {kElements / 3,
                                       kElements - kElements / 3};
  std::vector<int64_t> in(kElements), out(counts[world.rank()]);
  for (int64_t i = 0; i < kElements; ++i) in[i] = number(i, world.rank());
  world.transport().reduce_scatter_sum(in, counts, out).wait();
  const int64_t begin = world.rank() == 0 ? 0 : counts[0];
  check("sum", out,
        [&](int64_t i) { return number(begin + i, 0) + number(begin + i, 1); });
}

}  // namespace
}  // namespace timepipe

int main(int argc, char** argv) {
  using namespace timepipe;
  try {
    const auto world = make_mpi_communicator(&argc, &argv);
    world->set_timeout(600);
    send_one(*world);
    sum_up(*world);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() + std::string("\n");
  }
  abort_all_ranks(1);
}
