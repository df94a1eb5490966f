#pragma once

// The tanh form of GELU (Hendrycks & Gimpel 2016) in the three shapes in which
// the layers use it, with the arithmetic of kernels/cpu/gelu.h:
//   gelu(x) = x (1 + tanh u(x)) / 2 = x sigmoid(2 u(x)),
//   u(x) = sqrt(2/pi) (x + 0.044715 x^3)

#include "kernels/cuda/elementary.cuh"

namespace timepipe::cuda {

template <class T>
inline constexpr T kGeluRoot = T(0.79788456080286535588);  // sqrt(2/pi)
template <class T>
inline constexpr T kGeluCube = T(0.044715);

// gelu(x) = x factor and its derivative, in terms of factor = sigmoid(2 u(x)).
template <class T>
__device__ T gelu_factor(T x) {
  return sigmoid(T(2) * kGeluRoot<T> * (x + kGeluCube<T> * x * x * x));
}
template <class T>
__device__ T gelu_derivative(T x, T factor) {
  const T slope = T(2) * kGeluRoot<T> * (1 + 3 * kGeluCube<T> * x * x);
  return factor + x * (factor * (1 - factor)) * slope;
}

template <class T>
struct ValueAndSlope {
  T value, slope;
};

// gelu and its derivative, by tanh.
template <class T>
__device__ ValueAndSlope<T> gelu(T x) {
  constexpr T c = kGeluRoot<T>, kCube = kGeluCube<T>;
  const T x2 = x * x;
  const T t = tanh(c * x * (1 + kCube * x2));
  return {x * (1 + t) / 2,
          (1 + t) / 2 + x * (1 - t * t) * c * (1 + 3 * kCube * x2) / 2};
}

// What the inner gradient takes for gelu', with the official implementation's
// cut-off constants (they show at 3e-10), and the derivative of that.
template <class T>
__device__ ValueAndSlope<T> official_gelu_derivative(T x) {
  constexpr T a = static_cast<T>(0.79788456), c = static_cast<T>(0.1070322243);
  constexpr T kCube = kGeluCube<T>;
  const T x2 = x * x;
  const T t = tanh(a * x * (1 + kCube * x2));
  const T s = 1 - t * t;
  const T p = a + c * x2, v = a * (1 + 3 * kCube * x2);
  return {(x * s * p + 1 + t) / 2,
          s * ((p + 2 * c * x2 + v) / 2 - x * t * v * p)};
}

}  // namespace timepipe::cuda
