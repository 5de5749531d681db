// operators.h: LibTorch's operators as small typed functions. The only way to the dispatcher; see operators.cpp.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <array>
#include <cstdint>
#include <string>

#include "resnet_nodes/layers.h"

namespace resnet_nodes {

using torch::stable::Tensor;

/// "[128, 16, 10, 10]".
std::string shape_text(const Tensor& tensor);
/// "float32"; the number of the type where it has no name here.
std::string dtype_text(const Tensor& tensor);
/// "cpu", "cuda:1".
std::string device_text(const Tensor& tensor);

bool same_sizes(const Tensor& a, const Tensor& b);
/// Whether elements of both stand in the same order without gaps, so that a flat loop goes over both.
bool same_dense_layout(const Tensor& a, const Tensor& b);

/// Where gradients are wanted: input, weight, bias.
using GradientMask = std::array<bool, 3>;
using GradientTriple = std::array<Tensor, 3>;

Tensor convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, const LayerSpec& shape);
/// max(0, .) of the convolution; in one pass by cuDNN for float32 on CUDA where LibTorch has it. (Its other fused form
/// adds before it rectifies, which no step does.)
Tensor convolution_relu(const Tensor& x, const Tensor& weight, const Tensor& bias, const LayerSpec& shape);
GradientTriple convolution_backward(const Tensor& grad, const Tensor& x, const Tensor& weight, const LayerSpec& shape,
                                    const GradientMask& mask);
/// x [..., in] W^T + b.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias);
GradientTriple linear_backward(const Tensor& grad, const Tensor& x, const Tensor& weight, const GradientMask& mask);

/// Output, batch mean, inverse standard deviation. Changes the running statistics where `training` and they are
/// defined.
GradientTriple batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                          const Tensor& running_variance, bool training, double momentum, double epsilon);
GradientTriple batch_norm_backward(const Tensor& grad, const Tensor& x, const Tensor& weight,
                                   const Tensor& running_mean, const Tensor& running_variance, const Tensor& mean,
                                   const Tensor& inverse_deviation, bool training, double epsilon,
                                   const GradientMask& mask);
/// 1 / s^2: the variance whose inverse standard deviation is s.
Tensor inverse_square(const Tensor& x);

Tensor relu(const Tensor& x);
Tensor relu_backward(const Tensor& grad, const Tensor& output);
Tensor tanh(const Tensor& x);
Tensor tanh_backward(const Tensor& grad, const Tensor& output);
Tensor gelu(const Tensor& x, bool tanh_approximation);
Tensor gelu_backward(const Tensor& grad, const Tensor& x, bool tanh_approximation);

/// x + a y. By operators, on any device; steps.h is the fast way.
Tensor plus_scaled(const Tensor& x, const Tensor& y, double a);
/// Of all elements, a float64 number on x's device; float32 inside where x is narrower.
Tensor sum_of_squares(const Tensor& x);
/// The number of such a tensor. Waits for the device.
double number_of(const Tensor& x);
/// x y, broadcast.
Tensor product(const Tensor& x, const Tensor& y);
/// [n] as [n, 1, 1, 1].
Tensor column(const Tensor& x);
/// a x.
Tensor scaled(const Tensor& x, double a);
/// x in the layout of a stage's state: channels_last for four dimensions, row-major otherwise. x itself where it has
/// it.
Tensor state_layout(const Tensor& x);

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
