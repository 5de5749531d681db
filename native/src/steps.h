// steps.h: the fused steps on tensors. Chooses the kernels on the CPU and LibTorch's operators elsewhere.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "kernels/step_kernels.h"

namespace resnet_nodes {

using torch::stable::Tensor;

/// All tensors have one shape, dtype, device and layout (dense, equal strides); the functions make them so where they
/// are not. `out` is a defined tensor to write to, or an undefined one: then a fresh tensor is returned.
Tensor add_scaled(const Tensor& x, const Tensor& f, double a, const Tensor& out = Tensor());
Tensor add_scaled_sum(const Tensor& x, const Tensor& f, const Tensor& g, double a, const Tensor& out = Tensor());
/// y - a f, and the sums of squares of x~ - out and of a f.
Tensor correct(const Tensor& y, const Tensor& f, const Tensor& predicted, double a, StepNorms& norms,
               const Tensor& out = Tensor());
Tensor extrapolate(const Tensor& y, const std::vector<Tensor>& f, const std::vector<double>& coefficients, double a,
                   const Tensor& out = Tensor());
/// Sums of squares of x - reference and of reference.
StepNorms distance(const Tensor& x, const Tensor& reference);

}  // namespace resnet_nodes
