#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/transfer.h"

namespace timepipe {

// What one kernel reads and writes, made in one context. The numbers follow
// from the order of the calls alone and are those that `stored` can hold, so
// that the same kernel on other operands, of more exact types, differs by its
// own rounding errors only.
class Operands {
 public:
  // Types of activations (f32 or bf16) and of all else in the run that is
  // measured, and those that the operands get here.
  struct Types {
    DType stored, wide;
  };
  struct Result {
    std::string name;
    Tensor tensor;
    int64_t terms;  // added up in each element, at most
    bool rounded;   // it, or what is added up, to the type of activations
  };

  Operands(Context& ctx, Types measured, Types here)
      : ctx_(ctx), measured_(measured), here_(here) {}

  Context& ctx() const { return ctx_; }

  // Inputs: normal numbers of this deviation.
  Tensor stored(Shape shape, double deviation = 1);
  Tensor wide(Shape shape, double deviation = 1);
  Tensor f64(Shape shape, double deviation = 1);
  // Positive ones, of `scale` at most.
  Tensor positive(Shape shape, double scale);
  Tensor positive_f64(Shape shape);
  // [count] numbers in [0, below), each as likely.
  Tensor ids(int64_t count, int64_t below);

  // Outputs, not a number yet.
  Tensor stored_result(std::string name, Shape shape, int64_t terms = 1);
  Tensor wide_result(std::string name, Shape shape, int64_t terms = 1);
  // Wide, the sum of what a kernel stores as activations on its way.
  Tensor sum_of_stored(std::string name, Shape shape, int64_t terms);
  Tensor result(std::string name, Shape shape, DType dtype, int64_t terms = 1);
  // An input that the kernel changes.
  Tensor changed(std::string name, Tensor input, int64_t terms = 1);
  // Memory that no result is read from.
  Tensor scratch(Shape shape, DType dtype);
  DType stored_type() const { return here_.stored; }
  DType wide_type() const { return here_.wide; }

  const std::vector<Result>& results() const { return results_; }
  // Of all inputs and outputs, each once, what is changed twice.
  int64_t bytes() const { return bytes_; }

 private:
  template <class F>
  Tensor input(Shape shape, DType measured, DType here, F&& value);

  Context& ctx_;
  Types measured_, here_;
  std::vector<Result> results_;
  int64_t bytes_ = 0;
  uint64_t made_ = 0;  // inputs so far
};

// The largest difference of an element, as a share of the largest element that
// is expected; not a number if one of them isn't.
double largest_error(const HostArray& actual, const HostArray& expected);

}  // namespace timepipe
