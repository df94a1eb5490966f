#include "models/layers/sequence_layer.h"

#include "kernels/pointwise.h"

namespace timepipe {

void add_gradient(Context& ctx, const ParameterStore& weights,
                  int64_t parameter, GradientSum& gradients,
                  const std::function<void(Tensor&)>& compute) {
  Tensor gradient = ctx.allocate(weights.layout().parameters()[parameter].shape,
                                 weights.dtype());
  compute(gradient);
  gradients.add(ctx, parameter, gradient);
}

void round_operands(Context& ctx, const ParameterStore& weights) {
  Tensor operands = weights.operands();
  if (!operands.same_memory(weights.flat())) {
    round(ctx, weights.flat(), operands);
  }
}

Tensor operand_of(Context& ctx, const Tensor& x, const Precision& precision) {
  if (x.dtype() == precision.compute) return x;
  Tensor rounded = ctx.allocate(x.shape(), precision.compute);
  round(ctx, x, rounded);
  return rounded;
}

void linear_forward(Context& ctx, const Tensor& x, const Tensor& w, Tensor& y,
                    Write write) {
  matmul(ctx, Form::kNT, x, w, y, write);
}

void linear_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                     const ParameterStore& weights, int64_t w, Tensor& dx,
                     Write write_dx, GradientSum& gradients) {
  matmul(ctx, Form::kNN, dy, weights.operand(w), dx, write_dx);
  add_gradient(ctx, weights, w, gradients,
               [&](Tensor& dw) { matmul(ctx, Form::kTN, dy, x, dw); });
}

}  // namespace timepipe
