#include "tensors/fused_steps.h"

#include <string>

#include "resnet_nodes/error.h"
#include "tensors/elementwise.h"
#include "tensors/norms.h"
#include "tensors/operators.h"

namespace resnet_nodes {

Tensor add_scaled(const Tensor& x, const Tensor& f, double a, const Tensor& out) {
  return elementwise(
      "add_scaled", {{"x", x}, {"f", f}}, out,
      [a](const auto& loops, auto* to, const auto& from, int64_t count) {
        loops.add_scaled(to, from[0], from[1], a, count);
      },
      [a](const CudaKernels& cuda, ElementType type, void* to, const auto& from, int64_t count, void* stream) {
        return cuda.add_scaled(type, to, from[0], from[1], a, count, stream);
      },
      [&] { return plus_scaled(x, f, a); });
}

Tensor add_scaled_sum(const Tensor& x, const Tensor& f, const Tensor& g, double a, const Tensor& out) {
  return elementwise(
      "add_scaled_sum", {{"x", x}, {"f", f}, {"g", g}}, out,
      [a](const auto& loops, auto* to, const auto& from, int64_t count) {
        loops.add_scaled_sum(to, from[0], from[1], from[2], a, count);
      },
      [a](const CudaKernels& cuda, ElementType type, void* to, const auto& from, int64_t count, void* stream) {
        return cuda.add_scaled_sum(type, to, from[0], from[1], from[2], a, count, stream);
      },
      [&] { return plus_scaled(x, plus_scaled(f, g, 1.0), a); });
}

Tensor correct(const Tensor& y, const Tensor& f, const Tensor& predicted, double a, StepNorms& norms,
               const Tensor& out) {
  check_alike("correct", {{"y", y}, {"f", f}, {"predicted", predicted}}, out);
  if (!has_cpu_kernels(y)) {
    const Tensor measured = new_norms(y);
    const Tensor result = correct_measured(y, f, predicted, a, measured, out);
    norms = read_norms(measured);
    return result;
  }
  const DenseArguments dense({{"y", y}, {"f", f}, {"predicted", predicted}}, out);
  norms = sum_of_blocks(dense.out(), [&](const auto& loops, auto zero, int64_t begin, int64_t count) {
    using T = decltype(zero);
    const auto from = dense.from<T>(begin);
    return loops.correct(dense.to<T>(begin), from[0], from[1], from[2], a, count);
  });
  return dense.finish(out);
}

Tensor correct_measured(const Tensor& y, const Tensor& f, const Tensor& predicted, double a, const Tensor& norms,
                        const Tensor& out) {
  check_alike("correct", {{"y", y}, {"f", f}, {"predicted", predicted}}, out);
  if (has_cpu_kernels(y)) {
    StepNorms found;
    const Tensor result = correct(y, f, predicted, a, found, out);
    set_norms(norms, found);
    return result;
  }
  if (const CudaKernels* cuda = cuda_kernels_for(y)) {
    const DenseArguments dense({{"y", y}, {"f", f}, {"predicted", predicted}}, out);
    const Tensor scratch = scratch_for(*cuda, y);
    launch("correct", y, [&](ElementType type, void* stream) {
      const auto from = dense.memory();
      return cuda->correct(type, dense.out().mutable_data_ptr(), from[0], from[1], from[2], a, dense.out().numel(),
                           static_cast<double*>(norms.mutable_data_ptr()),
                           static_cast<double*>(scratch.mutable_data_ptr()), stream);
    });
    return dense.finish(out);
  }
  const Tensor result = plus_scaled(y, f, -a);
  measure_by_operators(norms, result, f, predicted, a);
  return written_to(out, result);
}

Tensor extrapolate(const Tensor& y, const std::vector<Tensor>& f, const std::vector<double>& coefficients, double a,
                   const Tensor& out) {
  if (f.empty() || f.size() > 3 || f.size() != coefficients.size()) {
    throw Error("extrapolate: " + std::to_string(f.size()) + " slopes and " + std::to_string(coefficients.size()) +
                " coefficients, expected 1 to 3 of each");
  }
  const double* c = coefficients.data();
  const auto terms = static_cast<int64_t>(f.size());
  // A missing slope is stood in for by y, which the kernel then does not read.
  const Tensor &second = terms > 1 ? f[1] : y, &third = terms > 2 ? f[2] : y;
  return elementwise(
      "extrapolate", {{"y", y}, {"f[0]", f[0]}, {"f[1]", second}, {"f[2]", third}}, out,
      [=](const auto& loops, auto* to, const auto& from, int64_t count) {
        loops.extrapolate(to, from[0], from.data() + 1, c, terms, a, count);
      },
      [=](const CudaKernels& cuda, ElementType type, void* to, const auto& from, int64_t count, void* stream) {
        return cuda.extrapolate(type, to, from[0], from.data() + 1, c, terms, a, count, stream);
      },
      [&] {
        Tensor slope = scaled(f[0], c[0]);
        for (size_t k = 1; k < f.size(); ++k) slope = plus_scaled(slope, f[k], c[k]);
        return plus_scaled(y, slope, -a);
      });
}

}  // namespace resnet_nodes
