// The scan of a TTT layer on a device, in its generic form: any head size and
// mini-batch, products by plain multiplications in f32 or f64. A mini-batch is
// the work of a block.

#include "kernels/cuda/ttt_scan.cuh"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "kernels/cuda/table.h"
#include "kernels/cuda/ttt_launch.h"
#include "kernels/cuda/ttt_sums.cuh"

namespace timepipe::cuda {
namespace {

using namespace ttt;  // NOLINT: the parts of this one scan

// Two or so for each multiprocessor of the largest devices. Scratch is taken
// for so many, whatever the number of chains.
constexpr int64_t kMostBlocks = 256;

int64_t blocks_of(int64_t chains_or_groups) {
  return std::min(chains_or_groups, kMostBlocks);
}

int64_t places_of(const TttShape& shape, const ChunkRows& rows) {
  const int64_t of_member = rows.members == 1 ? rows.tokens : rows.stride;
  return (of_member + shape.mini_batch - 1) / shape.mini_batch;
}

// Of a chunk, as the kernels see it.
class Chunk {
 public:
  Chunk(Context& ctx, const TttScan& scan)
      : places_(places_of(scan.shape, scan.rows)), cuts_(ctx, cuts_of(scan)) {}

  template <class T>
  Scan<T> of(const TttScan& scan) const {
    return {scan.shape,        scan.rows.members, places_,
            scan.rows.count(), cuts_.rows(),      inputs_of<T>(scan)};
  }

 private:
  std::vector<Cut> cuts_of(const TttScan& scan) const {
    const auto& [members, tokens, stride] = scan.rows;
    const int64_t b = scan.shape.mini_batch;
    std::vector<Cut> cuts;
    for (int64_t m = 0; m < members; ++m) {
      for (int64_t n = 0; n < places_; ++n) {
        cuts.push_back({.row = m * stride + n * b, .rows = 0, .resets = false});
      }
    }
    for (const Segment& s : scan.segments) {
      const int64_t first = (s.row - s.member * stride) / b;
      Cut* cut = &cuts[s.member * places_ + first];
      cut->resets = s.resets;
      for (int64_t i = 0; i < s.rows; i += b, ++cut) {
        cut->rows = static_cast<int>(std::min(b, s.rows - i));
      }
    }
    return cuts;
  }

  int64_t places_;
  DeviceTable<Cut> cuts_;
};

// Where TttScanGradients::passed holds what, in elements; sums come first, with
// the room of doubles that f32 elements leave.
struct PassedLayout {
  int64_t group_sums, chain_sums, rows, hidden_rows;  // elements of each kind

  PassedLayout(const TttShape& shape, const ChunkRows& chunk) {
    const int64_t H = shape.heads, D = shape.head_size;
    const int64_t groups =
        (places_of(shape, chunk) + kGroup - 1) / kGroup * chunk.members;
    const int64_t doubles = head_sums_size(shape);
    group_sums = 2 * groups * H * doubles;
    chain_sums = 2 * chunk.members * H * doubles;
    rows = chunk.count() * H * D;
    hidden_rows = shape.inner == InnerModel::kMlp ? 4 * rows : 0;
  }
  int64_t size() const {
    return group_sums + chain_sums + 4 * rows + 4 * hidden_rows;
  }
};

template <class T>
Passed<T> passed_of(const TttScan& scan, Tensor& passed) {
  const PassedLayout layout(scan.shape, scan.rows);
  T* next = device_elements<T>(passed);
  const auto take = [&](int64_t size) {
    T* const taken = next;
    next += size;
    return taken;
  };
  Passed<T> of;
  of.group_sums = reinterpret_cast<double*>(take(layout.group_sums));
  of.chain_sums = reinterpret_cast<double*>(take(layout.chain_sums));
  for (T** x : {&of.dk, &of.dz_bar, &of.dz, &of.dtarget}) {
    *x = take(layout.rows);
  }
  for (T** x : {&of.dz1_bar, &of.dz1, &of.dx2, &of.x2_bar}) {
    *x = take(layout.hidden_rows);
  }
  return of;
}

template <class T>
RowGradients<T> gradients_of(TttScanGradients& d) {
  return {device_elements<T>(std::as_const(d.dy)), activations<T>(d.dxq),
          activations<T>(d.dxk), activations<T>(d.dxv),
          device_elements<T>(d.dlr)};
}

template <class T>
BlockScratch<T> block_scratch(ScratchOfBlocks<T>& scratch, int64_t size) {
  return {scratch.elements(), size};
}

int64_t blocks_for_elements(int64_t n) { return (n + kThreads - 1) / kThreads; }

}  // namespace

int64_t ttt_scan_kept_elements(const TttShape& shape, const ChunkRows& rows) {
  const int64_t groups = (places_of(shape, rows) + kGroup - 1) / kGroup;
  return (rows.members * groups + 1) * shape.state_size();
}

int64_t ttt_scan_passed_elements(const TttShape& shape, const ChunkRows& rows) {
  return PassedLayout(shape, rows).size();
}

void ttt_scan_prepare(Context&, const TttScan&) {}

void ttt_scan_forward(Context& ctx, TttScan scan, const Tensor& start,
                      const Tensor& states_in, Tensor& states_out) {
  const Chunk chunk(ctx, scan);
  dispatch_model(scan.shape, scan.lr.dtype(), [&](auto zero, auto model) {
    using T = decltype(zero);
    using Model = typename decltype(model)::type;
    const Scan<T> of = chunk.of<T>(scan);
    const int64_t blocks = blocks_of(of.chains());
    const int64_t size = scan_chain_size<T, Model>(scan.shape);
    ScratchOfBlocks<T> scratch(ctx, blocks, size);
    launch_shared<&ttt::ttt_scan_chain<T, Model>>(
        ctx, blocks, threads_for(scan.shape), scratch.shared_bytes(),
        ForwardChain<T>{
            of, device_elements<T>(start), elements_or_null<T>(states_in),
            device_elements<T>(scan.kept), device_elements<T>(states_out),
            block_scratch(scratch, size)});
  });
}

void ttt_scan_read(Context& ctx, TttScan scan) {
  const Chunk chunk(ctx, scan);
  dispatch_model(scan.shape, scan.lr.dtype(), [&](auto zero, auto model) {
    using T = decltype(zero);
    using Model = typename decltype(model)::type;
    const Scan<T> of = chunk.of<T>(scan);
    const int64_t blocks = blocks_of(of.chains() * of.groups());
    const int64_t size = scan_read_size<T, Model>(scan.shape);
    ScratchOfBlocks<T> scratch(ctx, blocks, size);
    launch_shared<&ttt::ttt_scan_read<T, Model>>(
        ctx, blocks, threads_for(scan.shape), scratch.shared_bytes(),
        ForwardRead<T>{of, device_elements<T>(std::as_const(scan.kept)),
                       device_elements<T>(scan.y),
                       block_scratch(scratch, size)});
  });
}

void ttt_scan_backward_read(Context& ctx, const TttScan& scan,
                            TttScanGradients d) {
  const Chunk chunk(ctx, scan);
  dispatch_model(scan.shape, scan.lr.dtype(), [&](auto zero, auto model) {
    using T = decltype(zero);
    using Model = typename decltype(model)::type;
    const Scan<T> of = chunk.of<T>(scan);
    const int64_t blocks = blocks_of(of.chains() * of.groups());
    const int64_t size = scan_backward_read_size<T, Model>(scan.shape);
    ScratchOfBlocks<T> scratch(ctx, blocks, size);
    launch_shared<&ttt::ttt_scan_backward_read<T, Model>>(
        ctx, blocks, threads_for(scan.shape), scratch.shared_bytes(),
        BackwardRead<T>{of, device_elements<T>(scan.kept), gradients_of<T>(d),
                        passed_of<T>(scan, d.passed),
                        block_scratch(scratch, size)});
  });
}

void ttt_scan_backward(Context& ctx, const TttScan& scan, TttScanGradients d,
                       const Tensor& /*start: kept*/, const Tensor& dstates_out,
                       Tensor& dstates_in, Tensor& dstart) {
  const int64_t members = scan.rows.members;
  const Chunk chunk(ctx, scan);
  Tensor dstarts = dstart;
  if (members > 1) dstarts = ctx.allocate(dstates_in.shape(), dstart.dtype());
  dispatch_model(scan.shape, scan.lr.dtype(), [&](auto zero, auto model) {
    using T = decltype(zero);
    using Model = typename decltype(model)::type;
    const Scan<T> of = chunk.of<T>(scan);
    const int64_t blocks = blocks_of(of.chains());
    const int64_t size = scan_backward_chain_size<T, Model>(scan.shape);
    const int64_t step_size = scan_step_size<T, Model>(scan.shape);
    ScratchOfBlocks<T> scratch(ctx, blocks, size);
    Tensor steps = ctx.allocate({blocks * kGroup * step_size}, dtype_of<T>());
    launch_shared<&ttt::ttt_scan_backward_chain<T, Model>>(
        ctx, blocks, threads_for(scan.shape), scratch.shared_bytes(),
        BackwardChain<T>{
            of, device_elements<T>(scan.kept), elements_or_null<T>(dstates_out),
            device_elements<T>(dstates_in), device_elements<T>(dstarts),
            device_elements<T>(d.dlr), passed_of<T>(scan, d.passed),
            block_scratch(scratch, size), device_elements<T>(steps),
            step_size});
    if (members == 1) return;
    launch<&ttt::ttt_scan_add_starts<T>>(
        ctx, blocks_for_elements(dstart.numel()), kThreads,
        device_elements<T>(std::as_const(dstarts)), members, dstart.numel(),
        device_elements<T>(dstart));
  });
}

void ttt_scan_backward_finish(Context& ctx, const TttScan& scan,
                              TttScanGradients d) {
  const Chunk chunk(ctx, scan);
  const TttShape& shape = scan.shape;
  dispatch(scan.lr.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Scan<T> of = chunk.of<T>(scan);
    const Passed<T> passed = passed_of<T>(scan, d.passed);
    launch<&ttt::ttt_scan_backward_finish<T>>(
        ctx, of.chains() * of.places, threads_for(shape),
        BackwardFinish<T>{of, gradients_of<T>(d), passed});
    const int64_t sums = 2 * d.dln_w.numel() + d.dtok.numel();
    launch<&ttt_write_sums<T>>(
        ctx, blocks_for_elements(sums), kThreads, shape, scan.rows.members,
        shape.mini_batch, static_cast<const double*>(passed.chain_sums),
        device_elements<T>(d.dln_w), device_elements<T>(d.dln_b),
        device_elements<T>(d.dtok));
  });
}

int64_t ttt_scan_scratch_bytes(const TttShape& shape, const ChunkRows& rows,
                               DType dtype) {
  int64_t bytes = 0;
  dispatch_model(shape, dtype, [&](auto zero, auto model) {
    using T = decltype(zero);
    using Model = typename decltype(model)::type;
    using Scratch = ScratchOfBlocks<T>;
    const int64_t places = rows.members * places_of(shape, rows);
    const int64_t chains = rows.members * shape.heads;
    const int64_t groups = (places + kGroup - 1) / kGroup * shape.heads;
    const int64_t read = Scratch::device_bytes(
        blocks_of(groups), scan_backward_read_size<T, Model>(shape));
    const int64_t blocks = blocks_of(chains);
    const int64_t starts = rows.members > 1 ? rows.members : 0;
    const int64_t chain =
        Scratch::device_bytes(blocks,
                              scan_backward_chain_size<T, Model>(shape)) +
        (blocks * kGroup * scan_step_size<T, Model>(shape) +
         starts * shape.state_size()) *
            size_of(dtype);
    bytes = std::max(read, chain) + places * static_cast<int64_t>(sizeof(Cut));
  });
  return bytes;
}

}  // namespace timepipe::cuda
