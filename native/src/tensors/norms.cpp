#include "tensors/norms.h"

#include <limits>

#include "tensors/elementwise.h"
#include "tensors/operators.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

void set_norm(const Tensor& norms, MeasuredNorm which, const Tensor& value) {
  Tensor all = norms;
  Tensor one = torch::stable::narrow(all, 0, which, 1);
  torch::stable::copy_(one, value);
}

// Of a - b, subtracted in at least float32: differences of states are below what narrow types can tell.
Tensor squared_distance(const Tensor& a, const Tensor& b) {
  const ScalarType type = wide_type(a);
  return sum_of_squares(plus_scaled(torch::stable::to(a, type), torch::stable::to(b, type), -1.0));
}

// Nothing is written: beside x only where that has gaps.
DenseArguments compared(const Tensor& x, const Tensor& reference) {
  return DenseArguments({{"x", x}, {"reference", reference}}, x);
}

double* doubles(const Tensor& norms) { return static_cast<double*>(norms.mutable_data_ptr()); }

}  // namespace

StepNorms distance(const Tensor& x, const Tensor& reference) {
  check_alike("distance", {{"x", x}, {"reference", reference}}, Tensor());
  if (!has_cpu_kernels(x)) {
    const Tensor measured = new_norms(x);
    distance_measured(x, reference, measured);
    return read_norms(measured);
  }
  const DenseArguments dense = compared(x, reference);
  return sum_of_blocks(dense.out(), [&](const auto& loops, auto zero, int64_t begin, int64_t count) {
    const auto from = dense.from<decltype(zero)>(begin);
    return loops.distance(from[0], from[1], count);
  });
}

void distance_measured(const Tensor& x, const Tensor& reference, const Tensor& norms) {
  check_alike("distance", {{"x", x}, {"reference", reference}}, Tensor());
  if (has_cpu_kernels(x)) {
    set_norms(norms, distance(x, reference));
  } else if (const CudaKernels* cuda = cuda_kernels_for(x)) {
    const DenseArguments dense = compared(x, reference);
    const Tensor scratch = scratch_for(*cuda, x);
    launch("distance", x, [&](ElementType type, void* stream) {
      return cuda->distance(type, dense.memory()[0], dense.memory()[1], dense.out().numel(), doubles(norms),
                            doubles(scratch), stream);
    });
  } else {
    set_norm(norms, kDifference, squared_distance(x, reference));
    set_norm(norms, kReference, sum_of_squares(reference));
    set_norm(norms, kState, sum_of_squares(reference));
  }
}

Tensor new_norms(const Tensor& x, int64_t rows) {
  return torch::stable::full(std::vector<int64_t>{rows * kMeasuredNorms}, 0.0, ScalarType::Double, std::nullopt,
                             x.device());
}

Tensor norm_row(const Tensor& norms, int64_t row) {
  Tensor all = norms;
  return torch::stable::narrow(all, 0, row * kMeasuredNorms, kMeasuredNorms);
}

void set_norms(const Tensor& norms, const StepNorms& found) {
  double* values = doubles(norms);
  values[kDifference] = found.difference, values[kReference] = found.reference, values[kState] = found.state;
}

void measure_by_operators(const Tensor& norms, const Tensor& out, const Tensor& f, const Tensor& predicted, double a) {
  set_norm(norms, kDifference, squared_distance(predicted, out));
  set_norm(norms, kReference, scaled(sum_of_squares(f), a * a));
  set_norm(norms, kState, sum_of_squares(out));
}

StepNorms read_norms(const Tensor& norms) {
  const Tensor here = torch::stable::to(norms, torch::stable::Device(torch::headeronly::DeviceType::CPU));
  const auto* values = static_cast<const double*>(here.const_data_ptr());
  return {values[kDifference], values[kReference], values[kState]};
}

double rounding_unit(const Tensor& x) {
  switch (x.scalar_type()) {
    case ScalarType::Double:
      return std::numeric_limits<double>::epsilon();
    case ScalarType::Float:
      return std::numeric_limits<float>::epsilon();
    case ScalarType::BFloat16:
      return 1.0 / 128;
    default:
      return 1.0 / 1024;
  }
}

}  // namespace resnet_nodes
