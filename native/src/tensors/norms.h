// norms.h: how far states are from one another: on the host, or on the tensors' device where nothing is to wait for it.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include "kernels/step_norms.h"

namespace resnet_nodes {

using torch::stable::Tensor;

/// Sums of squares of x - reference and of reference; its state is the reference.
StepNorms distance(const Tensor& x, const Tensor& reference);
/// The same in `norms` (MeasuredNorm), float64 on x's device.
void distance_measured(const Tensor& x, const Tensor& reference, const Tensor& norms);

/// Zeros for `rows` rows of norms (MeasuredNorm), on x's device.
Tensor new_norms(const Tensor& x, int64_t rows = 1);
/// One of those rows, to be written on the device.
Tensor norm_row(const Tensor& norms, int64_t row);
/// Norms that the CPU has found, in a row.
void set_norms(const Tensor& norms, const StepNorms& found);
/// Those of a correction by LibTorch's operators: of predicted - out, of a f, of out.
void measure_by_operators(const Tensor& norms, const Tensor& out, const Tensor& f, const Tensor& predicted, double a);
/// A row. Blocks until the device has it.
StepNorms read_norms(const Tensor& norms);

/// The distance of 1 and the next number of x's dtype.
double rounding_unit(const Tensor& x);

}  // namespace resnet_nodes
