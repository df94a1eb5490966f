// Checks the arguments, then calls the kernel on host memory.

#include "kernels/causal_conv.h"

#include <cstddef>
#include <string>

#include "kernels/checks.h"
#include "kernels/cpu/cpu_kernels.h"

namespace timepipe {
namespace {

void require_segments(Segments segments, int64_t rows) {
  int64_t end = 0;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& s = segments[i];
    const std::string name = "segments[" + std::to_string(i) + "]: ";
    require(s.row >= end && s.rows >= 0 && s.row + s.rows <= rows,
            name + "rows [" + std::to_string(s.row) + "," +
                std::to_string(s.row + s.rows) + "), expected inside [" +
                std::to_string(end) + "," + std::to_string(rows) + ")");
    require(s.context == 0 || (s.context > 0 && i == 0 && s.row == 0),
            name + "context " + std::to_string(s.context) +
                ", expected 0: only the chunk's first row can continue a "
                "document");
    end = s.row + s.rows;
  }
}

bool needs_halo(Segments segments) {
  return !segments.empty() && !segments[0].starts_document();
}

// w: [C,1,k]. The halo is [k-1,C], or empty where none is read.
void check(const Tensor& x, const Tensor& w, Segments segments,
           const char* halo_name, const Tensor& halo) {
  require_matrix("x", x);
  require_rank("w", w, 3);
  const int64_t C = x.dim(1), k = w.dim(2);
  require(k > 0, "w: shape " + to_string(w.shape()) +
                     ", expected a width of at least 1");
  require_tensor("w", w, x, {C, 1, k});
  require_segments(segments, x.dim(0));
  if (halo.empty() && (k == 1 || !needs_halo(segments))) return;
  require_tensor(halo_name, halo, x, {k - 1, C});
}

}  // namespace

void causal_conv_forward(Context& ctx, const Tensor& x, const Tensor& halo,
                         const Tensor& w, const Tensor& bias, Segments segments,
                         Tensor& y) {
  check(x, w, segments, "halo", halo);
  require_tensor("bias", bias, x, {x.dim(1)});
  require_tensor("y", y, x, x.shape());
  const KernelScope scope(ctx);
  cpu::causal_conv_forward(ctx, x, halo, w, bias, segments, y);
}

void causal_conv_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                          const Tensor& halo, const Tensor& w,
                          Segments segments, Tensor& dx, Tensor& dhalo,
                          Write write_dx, Tensor& dw, Tensor& dbias) {
  check(x, w, segments, "halo", halo);
  check(x, w, segments, "dhalo", dhalo);
  require_tensor("dy", dy, x, x.shape());
  require_tensor("dx", dx, x, x.shape());
  require_tensor("dw", dw, x, w.shape());
  require_tensor("dbias", dbias, x, {x.dim(1)});
  const KernelScope scope(ctx);
  cpu::causal_conv_backward(ctx, dy, x, halo, w, segments, dx, dhalo, write_dx,
                            dw, dbias);
}

}  // namespace timepipe
