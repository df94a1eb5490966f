#pragma once

#include <functional>
#include <memory>
#include <string>

#include "kernels/matmul.h"
#include "kernels/rows.h"
#include "parallel/chunk_program.h"
#include "runtime/parameter.h"

namespace timepipe {

// The layer of a block that mixes positions: the one place where block kinds
// differ. It runs on a chunk in parts, between which its borders cross: rows
// that its convolutions look back to, halo_qk [members*(conv_kernel-1),C], and
// the state. Tensors are [T,C] unless said; T rows of the chunk, C width. An
// empty *_in isn't there, an empty *_out or d*_in isn't wanted, an empty d*_out
// is zero.
class SequenceLayer {
 public:
  virtual ~SequenceLayer() = default;

  // The weights, once they are there. They must outlive the layer.
  virtual void bind(const ParameterStore& weights) = 0;
  // Multiplies the base rate of an inner learner, if the layer has one; 1
  // unless it is warmed up.
  virtual void set_inner_rate_multiplier(double) {}

  // What the parts of one visit to a chunk leave for each other, forward and
  // backward; taken once, used for one chunk after the other.
  struct Slab {
    virtual ~Slab() = default;
  };
  virtual std::unique_ptr<Slab> make_slab(Context& ctx,
                                          const ChunkRows& rows) const = 0;

  // Of kHaloQk and kState of one sequence, of several one after the other; no
  // elements: nothing crosses.
  virtual Shape border_shape(Border border, int64_t members) const = 0;

  // u: the layer's input. First what the convolutions run over, if the layer
  // has any; then all else that needs no state.
  virtual void project_qk(Context& ctx, const ChunkView& view, const Tensor& u,
                          Slab& slab, Tensor& halo_qk_out) const = 0;
  virtual void project(Context& ctx, const ChunkView& view, const Tensor& u,
                       Slab& slab, const Tensor& halo_qk_in) const = 0;
  // From state to state. If nobody wants state_out, it becomes scratch.
  virtual void scan(Context& ctx, const ChunkView& view, Slab& slab,
                    const Tensor& state_in, Tensor& state_out) const = 0;
  // Adds the layer's output to y.
  virtual void output(Context& ctx, const ChunkView& view, Slab& slab,
                      Tensor& y) const = 0;

  // Decoding (kernels/ttt_decode.h): the state that the layer starts from, of
  // border_shape(kState), and the scan of rows that lie in one mini-batch of
  // the inner learner, which they needn't fill. `state` is that before the
  // mini-batch, gradient_sum what its earlier rows left; both are updated.
  virtual Tensor start_state(Context& ctx) const = 0;
  virtual void scan_part(Context& ctx, const ChunkView& view, Slab& slab,
                         Tensor& state, Tensor& gradient_sum) const = 0;

  // Calls see(name, value) for what a slab holds of the chunk, for tests and
  // instruments; names as in the goldens README, module_*.
  virtual void inspect(
      const Slab& slab, const ChunkView& view,
      const std::function<void(const char* name, const Tensor& value)>& see)
      const = 0;

  // What the backward parts leave for each other; taken before the first,
  // project_qk_backward() gives it back.
  virtual void take_gradients(Context& ctx, const ChunkRows& rows,
                              Slab& slab) const = 0;

  // The parts in reverse. project_backward() overwrites du,
  // project_qk_backward() adds to it.
  virtual void output_backward(Context& ctx, const ChunkView& view, Slab& slab,
                               const Tensor& dy,
                               GradientSum& gradients) const = 0;
  virtual void scan_backward(Context& ctx, const ChunkView& view, Slab& slab,
                             const Tensor& dstate_out, Tensor& dstate_in,
                             GradientSum& gradients) const = 0;
  virtual void project_backward(Context& ctx, const ChunkView& view,
                                const Tensor& u, Slab& slab,
                                const Tensor& halo_qk_in, Tensor& dhalo_qk_in,
                                Tensor& du, GradientSum& gradients) const = 0;
  virtual void project_qk_backward(Context& ctx, const ChunkView& view,
                                   const Tensor& u, Slab& slab,
                                   const Tensor& dhalo_qk_out, Tensor& du,
                                   GradientSum& gradients) const = 0;
};

// A slab's tensor as far as the chunk goes: the last one may be short.
inline Tensor rows(const Tensor& tensor, const ChunkView& view) {
  return tensor.slice(0, view.rows.count());
}

// Makes scratch for the gradient of a parameter, lets `compute` overwrite it
// and adds it to the sum.
void add_gradient(Context& ctx, const ParameterStore& weights,
                  int64_t parameter, GradientSum& gradients,
                  const std::function<void(Tensor&)>& compute);

// The copies of the weights that products read, from the masters.
void round_operands(Context& ctx, const ParameterStore& weights);
// x as products read it: rounded, or x itself if that is its type.
Tensor operand_of(Context& ctx, const Tensor& x, const Precision& precision);

// y = x W^T.
void linear_forward(Context& ctx, const Tensor& x, const Tensor& w, Tensor& y,
                    Write write = Write::kOverwrite);
// dx = dy W (or +=), and dW = dy^T x to the sum.
void linear_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                     const ParameterStore& weights, int64_t w, Tensor& dx,
                     Write write_dx, GradientSum& gradients);

}  // namespace timepipe
