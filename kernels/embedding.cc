#include "kernels/embedding.h"

#include <string>

#include "kernels/checks.h"
#include "kernels/cpu/cpu_kernels.h"

namespace timepipe {
namespace {

void require_ids(const Tensor& ids, int64_t vocab) {
  const int64_t* id = ids.data<int64_t>();
  for (int64_t t = 0; t < ids.numel(); ++t) {
    if (id[t] >= 0 && id[t] < vocab) continue;
    throw InvalidArgument("ids[" + std::to_string(t) +
                          "]: " + std::to_string(id[t]) + ", expected [0," +
                          std::to_string(vocab) + ")");
  }
}

void check(const Tensor& ids, const char* name, const Tensor& rows,
           const Tensor& table) {
  require_matrix("table", table);
  require_dtype("ids", ids, DType::kI64);
  require_rank("ids", ids, 1);
  require_tensor(name, rows, table, {ids.dim(0), table.dim(1)});
  require_ids(ids, table.dim(0));
}

}  // namespace

void embedding_forward(Context&, const Tensor& ids, const Tensor& table,
                       Tensor& x) {
  check(ids, "x", x, table);
  cpu::embedding_forward(ids, table, x);
}

void embedding_backward(Context&, const Tensor& ids, const Tensor& dx,
                        Tensor& dtable, Write write) {
  check(ids, "dx", dx, dtable);
  cpu::embedding_backward(ids, dx, dtable, write);
}

}  // namespace timepipe
