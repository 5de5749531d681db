// operators.h: LibTorch's operators as small typed functions, those that more than one layer or step needs.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <array>
#include <cstdint>

#include "resnet_nodes/layers.h"

namespace resnet_nodes {

using torch::stable::Tensor;

/// Where gradients are wanted: input, weight, bias.
using GradientMask = std::array<bool, 3>;
using GradientTriple = std::array<Tensor, 3>;

Tensor convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, const LayerSpec& shape);
/// `weight_sum`: where the weight's gradient may be added instead of being returned; then it is undefined.
GradientTriple convolution_backward(const Tensor& grad, const Tensor& x, const Tensor& weight, const LayerSpec& shape,
                                    const GradientMask& mask, const Tensor& weight_sum = Tensor());
/// Numbers of a part of a large weight. oneDNN lays a weight and its gradient out anew: two more copies of what may be
/// larger than all states. Where states are large, going over them several times costs more than the copies.
constexpr int64_t kLargeWeight = 1 << 18;
/// Whether a convolution goes over some output channels after the other: where the weight is larger than x.
bool is_sliced(const Tensor& x, const Tensor& weight, const LayerSpec& shape);
/// Every stride-th row and column, of x's layout; and its product.
Tensor subsampled(const Tensor& x, const LayerSpec& shape);
Tensor subsampled_backward(const Tensor& grad, const Tensor& x, const LayerSpec& shape);
/// x [..., in] W^T + b.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias);
GradientTriple linear_backward(const Tensor& grad, const Tensor& x, const Tensor& weight, const GradientMask& mask);

/// Output, batch mean, inverse standard deviation. Changes the running statistics where `training` and they are
/// defined.
GradientTriple batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                          const Tensor& running_variance, bool training, double momentum, double epsilon);
/// `mean`, `invstd`: the batch's; undefined where the running statistics were used.
GradientTriple batch_norm_backward(const Tensor& grad, const Tensor& x, const Tensor& weight,
                                   const Tensor& running_mean, const Tensor& running_variance, const Tensor& mean,
                                   const Tensor& invstd, bool training, double epsilon, const GradientMask& mask);
/// 1 / s^2: the variance whose inverse standard deviation is s.
Tensor inverse_square(const Tensor& x);

/// max(0, x).
Tensor relu(const Tensor& x);
/// max(x, y); not a number where either is.
Tensor greater(const Tensor& x, const Tensor& y);

/// What sums over values like x, and statistics of them, are kept in: float64, or float32 where x is narrower.
torch::headeronly::ScalarType wide_type(const Tensor& x);
/// x + a y. By operators, on any device; fused_steps.h is the fast way.
Tensor plus_scaled(const Tensor& x, const Tensor& y, double a);
/// Of all elements, a float64 number on x's device; float32 inside where x is narrower.
Tensor sum_of_squares(const Tensor& x);
/// x y, broadcast.
Tensor product(const Tensor& x, const Tensor& y);
/// [n] as [n, 1, 1, 1].
Tensor column(const Tensor& x);
/// a x.
Tensor scaled(const Tensor& x, double a);
/// A tensor of no dimension with x's dtype and device: the stable ABI carries no Scalar arguments.
Tensor number_like(const Tensor& x, double value);

/// Turns gradient recording off while it lives.
class NoGradient {
 public:
  NoGradient();
  ~NoGradient();
  NoGradient(const NoGradient&) = delete;
  NoGradient& operator=(const NoGradient&) = delete;

 private:
  bool before_;
};

}  // namespace resnet_nodes
