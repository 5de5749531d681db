// fused_steps.h: what a step does to states beside the evaluation of functions, in one pass over memory each. All
// tensors have one shape, dtype and device, and are brought to one dense layout; an Error says where they can't be.
// `out` is a tensor to write to, which may be an input, or an undefined one: then a new tensor is returned.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "kernels/step_norms.h"

namespace resnet_nodes {

using torch::stable::Tensor;

/// A state found from the one after it.
struct Corrected {
  Tensor state;     ///< y - a f(x~)
  Tensor slope;     ///< f(x~), where it was asked for
  StepNorms norms;  ///< zeros where they were measured into a tensor
};

/// x + a f.
Tensor add_scaled(const Tensor& x, const Tensor& f, double a, const Tensor& out = Tensor());
/// x + a (f + g).
Tensor add_scaled_sum(const Tensor& x, const Tensor& f, const Tensor& g, double a, const Tensor& out = Tensor());
/// y - a f, and the sums of squares of predicted - out, of a f and of out.
Tensor correct(const Tensor& y, const Tensor& f, const Tensor& predicted, double a, StepNorms& norms,
               const Tensor& out = Tensor());
/// The same with the norms (MeasuredNorm) in `norms`, float64 on y's device: nothing waits for it.
Tensor correct_measured(const Tensor& y, const Tensor& f, const Tensor& predicted, double a, const Tensor& norms,
                        const Tensor& out = Tensor());
/// y - a (c[0] f[0] + c[1] f[1] + c[2] f[2]), 1 to 3 of each.
Tensor extrapolate(const Tensor& y, const std::vector<Tensor>& f, const std::vector<double>& coefficients, double a,
                   const Tensor& out = Tensor());

}  // namespace resnet_nodes
