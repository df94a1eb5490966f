#include <hostcuda/warp.h>
#include <hostcuda/warp_state.h>

#include <bit>
#include <cmath>

namespace hostcuda {

namespace {

constexpr uint32_t kAllLanes = 0xffffffff;

// The operation that the current thread has come to, opened if it is the first.
Group& find_group(Warp& warp, uint32_t lane, Complete complete, uint32_t mask,
                  const char* operation, const Site& site) {
  for (unsigned g = 0; g < warp.num_groups; ++g) {
    Group& group = warp.groups[g];
    if (group.mask == mask && group.complete == complete &&
        group.site == site) {
      return group;
    }
    // They wait for this lane, it would wait for them.
    if ((group.mask & lane) && (group.arrived & mask)) {
      fail(
          "is in %s (mask 0x%08x) of %s:%d, lanes 0x%08x of its warp in %s "
          "(mask 0x%08x) of %s:%d",
          operation, mask, site.file, site.line, group.arrived, group.operation,
          group.mask, group.site.file, group.site.line);
    }
  }
  Group& group = warp.groups[warp.num_groups++];
  group.complete = complete;
  group.operation = operation;
  group.site = site;
  group.mask = mask;
  group.arrived = 0;
  group.waiting = {};
  if (kHasContexts) {
    // Of a warp's ordering objects, used in turn.
    OrderObjects::OfWarp& objects =
        engine->order->warps[&warp - &engine->warps[0]];
    group.order = &objects[warp.num_operations++ % objects.size()];
  }
  return group;
}

// The current thread does the operation with the other lanes of the mask; the
// last of them to come completes it for all. Unless it is a barrier, it orders
// nothing.
void join(Complete complete, uint32_t mask, const char* operation,
          const Site& site, bool is_barrier) {
  Engine& e = *engine;
  Thread& thread = e.current();
  Warp& warp = e.warp_of(thread);
  const uint32_t lane = uint32_t{1} << thread.lane();
  if (!(mask & lane)) {
    fail("is not in the mask 0x%08x of its %s of %s:%d", mask, operation,
         site.file, site.line);
  }
  if (mask & warp.gone) {
    fail(
        "is in %s of %s:%d, but lanes 0x%08x of the mask 0x%08x have exited "
        "or don't exist",
        operation, site.file, site.line, mask & warp.gone, mask);
  }
  Group& group = find_group(warp, lane, complete, mask, operation, site);
  uint64_t* const order = is_barrier ? group.order : nullptr;
  if (is_barrier) publish_context(order);
  group.waiting.push(&thread);
  group.arrived |= lane;
  if (group.arrived == mask) {
    complete(warp, mask);
    e.make_ready(group.waiting);
    if (&group != &warp.groups[--warp.num_groups]) {
      group = warp.groups[warp.num_groups];
    }
  }
  e.wait();
  if (is_barrier) observe_context(order);
}

void complete_nothing(Warp&, uint32_t) {}

void complete_shuffle(Warp& warp, uint32_t mask) {
  if (mask == kAllLanes) {
    for (unsigned l = 0; l < kWarpSize; ++l) {
      warp.result[l] = warp.value[warp.source[l]];
    }
    return;
  }
  for (; mask != 0; mask &= mask - 1) {
    const auto l = static_cast<unsigned>(std::countr_zero(mask));
    warp.result[l] = warp.value[warp.source[l]];
  }
}

struct Plus {
  template <class T>
  T operator()(T a, T b) const {
    return a + b;
  }
};
struct Larger {  // NaN is passed over.
  template <class T>
  T operator()(T a, T b) const {
    return std::fmax(a, b);
  }
};

template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

template <class T>
uint64_t bits_of(T value) {
  return std::bit_cast<Bits<T>>(value);
}
template <class T>
T from_bits(uint64_t bits) {
  return std::bit_cast<T>(static_cast<Bits<T>>(bits));
}

template <class T, class Op>
void complete_tree(Warp& warp, uint32_t) {
  std::array<T, kWarpSize> value;
  for (unsigned l = 0; l < kWarpSize; ++l)
    value[l] = from_bits<T>(warp.value[l]);
  for (unsigned apart = kWarpSize / 2; apart > 0; apart /= 2) {
    for (unsigned l = 0; l < apart; ++l) {
      value[l] = Op()(value[l], value[l + apart]);
    }
  }
  for (unsigned l = 0; l < kWarpSize; ++l) warp.result[l] = bits_of(value[0]);
}

template <class T, class Op>
T tree(T value, const char* operation, const Site& site) {
  Thread& thread = engine->current();
  Warp& warp = engine->warp_of(thread);
  warp.value[thread.lane()] = bits_of(value);
  join_group(complete_tree<T, Op>, kAllLanes, operation, site);
  return from_bits<T>(warp.result[thread.lane()]);
}

}  // namespace

void join_group(Complete complete, uint32_t mask, const char* operation,
                const Site& site) {
  join(complete, mask, operation, site, false);
}

uint64_t shuffle(uint64_t value, unsigned source, uint32_t mask,
                 const char* operation, const char* file, int line) {
  Thread& thread = engine->current();
  Warp& warp = engine->warp_of(thread);
  const unsigned lane = thread.lane();
  if ((mask >> lane & 1) && !(mask >> source & 1)) {
    fail("asks for lane %u, which is not in the mask 0x%08x of %s of %s:%d",
         source, mask, operation, file, line);
  }
  warp.value[lane] = value;
  warp.source[lane] = static_cast<uint8_t>(source);
  join_group(complete_shuffle, mask, operation, {file, line});
  return warp.result[lane];
}

void warp_barrier(uint32_t mask, const char* file, int line) {
  join(complete_nothing, mask, "__syncwarp", {file, line}, true);
}

float warp_sum(float value, const char* file, int line) {
  return tree<float, Plus>(value, "warp_sum", {file, line});
}
double warp_sum(double value, const char* file, int line) {
  return tree<double, Plus>(value, "warp_sum", {file, line});
}
float warp_max(float value, const char* file, int line) {
  return tree<float, Larger>(value, "warp_max", {file, line});
}
double warp_max(double value, const char* file, int line) {
  return tree<double, Larger>(value, "warp_max", {file, line});
}

}  // namespace hostcuda
