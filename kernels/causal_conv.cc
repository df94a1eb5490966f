// Checks the arguments, then calls the kernel of the device.

#include "kernels/causal_conv.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include "kernels/backend.h"
#include "kernels/checks.h"

namespace timepipe {
namespace {

void require_segments(Segments segments, int64_t rows) {
  int64_t end = 0;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& s = segments[i];
    require(s.row >= end && s.rows >= 0 && s.row + s.rows <= rows, "segments[",
            i, "]: rows [", s.row, ",", s.row + s.rows, "), expected inside [",
            end, ",", rows, ")");
    const bool first =
        i == 0 ? s.row == 0 || s.member > 0 : s.member > segments[i - 1].member;
    require(s.member >= (i == 0 ? 0 : segments[i - 1].member), "segments[", i,
            "]: member ", s.member,
            ", expected those before it to be of earlier ones");
    require(s.context == 0 || (s.context > 0 && first), "segments[", i,
            "]: context ", s.context,
            ", expected 0: only the first row of a chunk's sequence can "
            "continue a document");
    end = s.row + s.rows;
  }
}

// Rows of the halos that are read, and those before them.
int64_t halo_rows_read(Segments segments, int64_t k) {
  int64_t rows = 0;
  for (const Segment& s : segments) {
    if (s.starts_document()) continue;
    rows = std::max(rows, (s.member + 1) * (k - 1));
  }
  return rows;
}

// w: [C,1,k]. The halo is [members*(k-1),C], or empty where none is read.
void check(const Tensor& x, const Tensor& w, Segments segments,
           const char* halo_name, const Tensor& halo) {
  require_matrix("x", x, /*or_bf16=*/true);
  require_rank("w", w, 3);
  const int64_t C = x.dim(1), k = w.dim(2);
  require(k > 0, "w: shape ", w.shape(), ", expected a width of at least 1");
  require_wide("w", w, x, {C, 1, k});
  require_segments(segments, x.dim(0));
  const int64_t read = halo_rows_read(segments, k);
  if (halo.empty() && read == 0) return;
  require_wide(halo_name, halo, x, {std::max(halo.dim(0), read), C});
  require(k > 1 && halo.dim(0) % (k - 1) == 0, halo_name, ": ", halo.dim(0),
          " rows, expected a multiple of ", k - 1);
}

}  // namespace

void causal_conv_forward(Context& ctx, const Tensor& x, const Tensor& halo,
                         const Tensor& w, const Tensor& bias, Segments segments,
                         Tensor& y) {
  check(x, w, segments, "halo", halo);
  require_wide("bias", bias, x, {x.dim(1)});
  require_tensor("y", y, x, x.shape());
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, causal_conv_forward, x, halo, w, bias, segments, y);
}

void causal_conv_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                          const Tensor& halo, const Tensor& w,
                          Segments segments, Tensor& dx, Tensor& dhalo,
                          Write write_dx, Tensor& dw, Tensor& dbias) {
  check(x, w, segments, "halo", halo);
  check(x, w, segments, "dhalo", dhalo);
  require_tensor("dy", dy, x, x.shape());
  require_wide("dx", dx, x, x.shape());
  require_wide("dw", dw, x, w.shape());
  require_wide("dbias", dbias, x, {x.dim(1)});
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, causal_conv_backward, dy, x, halo, w, segments, dx,
                  dhalo, write_dx, dw, dbias);
}

}  // namespace timepipe
