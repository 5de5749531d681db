// steps.h: the fused steps on tensors. By kernels on the CPU and on CUDA, by LibTorch's operators
// elsewhere and for types that the kernels of a device lack.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "kernels/step_norms.h"

namespace resnet_nodes {

using torch::stable::Tensor;

/// Norms of parts, added up in their order.
StepNorms sum_of(const std::vector<StepNorms>& parts);

/// All tensors have one shape, dtype, device and layout (dense, equal strides); the functions make them so where they
/// are not. `out` is a defined tensor to write to, or an undefined one: then a fresh tensor is returned.
Tensor add_scaled(const Tensor& x, const Tensor& f, double a, const Tensor& out = Tensor());
Tensor add_scaled_sum(const Tensor& x, const Tensor& f, const Tensor& g, double a, const Tensor& out = Tensor());
/// y - a f, and the sums of squares of x~ - out and of a f.
Tensor correct(const Tensor& y, const Tensor& f, const Tensor& predicted, double a, StepNorms& norms,
               const Tensor& out = Tensor());
/// The same with four norms (MeasuredNorm) in `norms`, float64 on y's device: nothing waits for it.
Tensor correct_measured(const Tensor& y, const Tensor& f, const Tensor& predicted, double a, const Tensor& norms,
                        const Tensor& out = Tensor());
Tensor extrapolate(const Tensor& y, const std::vector<Tensor>& f, const std::vector<double>& coefficients, double a,
                   const Tensor& out = Tensor());
/// Sums of squares of x - reference and of reference.
StepNorms distance(const Tensor& x, const Tensor& reference);

/// The same in the first two of `norms`, float64 on x's device.
void distance_measured(const Tensor& x, const Tensor& reference, const Tensor& norms);
/// Zeros for the norms of `rows` steps, on x's device.
Tensor new_norms(const Tensor& x, int64_t rows = 1);
/// Norms that the CPU has found, as correct_measured leaves them.
void set_norms(const Tensor& norms, const StepNorms& found, const Tensor& y, const Tensor& predicted);

}  // namespace resnet_nodes
