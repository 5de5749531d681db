#include "steps.h"

#include <torch/csrc/stable/ops.h>

#include <array>
#include <cstring>

#include "operators.h"
#include "resnet_nodes/error.h"
#include "resnet_nodes/runtime.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

// Elements that one thread takes at a time, and over which a sum is added up: fixed, so that results do not depend on
// the number of threads.
constexpr int64_t kBlock = 16384;
constexpr size_t kInputs = 4;

const StepKernelPath& kernels() {
  const StepKernelPath* path = active_step_kernels();
  if (path == nullptr) active_kernel_path();  // throws, naming the paths that there are
  return *path;
}

void check_like(const Tensor& tensor, const Tensor& first, const char* step) {
  if (!tensor.defined() || !same_sizes(tensor, first) || tensor.scalar_type() != first.scalar_type() ||
      tensor.is_cpu() != first.is_cpu()) {
    throw Error(std::string(step) + ": " + (tensor.defined() ? dtype_text(tensor) + " " : "") + shape_text(tensor) +
                ", expected " + dtype_text(first) + " " + shape_text(first));
  }
}

bool has_kernels(const Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == ScalarType::Float || x.scalar_type() == ScalarType::Double);
}

// Arguments of a step, brought to one dense layout: that of `out` where it is given, else of the first input.
struct Prepared {
  std::array<Tensor, kInputs> inputs;
  size_t count = 0;
  Tensor out;
  bool copy_back = false;

  Prepared(const char* step, std::initializer_list<const Tensor*> list, const Tensor& given) {
    const Tensor& first = **list.begin();
    if (!first.defined()) throw Error(std::string(step) + ": a tensor is undefined");
    for (const Tensor* tensor : list) check_like(*tensor, first, step);
    if (given.defined()) check_like(given, first, step);
    out = given.defined() ? given : torch::stable::empty_like(first);
    if (!same_dense_layout(out, out)) {
      // The target has gaps: compute beside it.
      out = torch::stable::empty_like(first);
      copy_back = true;
    }
    for (const Tensor* tensor : list) {
      if (same_dense_layout(*tensor, out)) {
        inputs[count++] = *tensor;
      } else {
        Tensor copy = torch::stable::empty_like(out);
        torch::stable::copy_(copy, *tensor);
        inputs[count++] = copy;
      }
    }
  }

  Tensor finish(const Tensor& given) {
    if (!copy_back || !given.defined()) return out;
    Tensor target = given;
    torch::stable::copy_(target, out);
    return target;
  }
};

template <typename T>
T* data(const Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

// Calls body(kernels of T, T(), begin, count) for each block.
template <typename Body>
void for_blocks(const Tensor& like, const Body& body) {
  const StepKernelPath& path = kernels();
  const int64_t total = like.numel();
  const int64_t blocks = (total + kBlock - 1) / kBlock;
  const bool single = like.scalar_type() == ScalarType::Float;
  torch::stable::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kBlock;
      const int64_t count = total - begin < kBlock ? total - begin : kBlock;
      if (single) {
        body(path.float32, float(), begin, count);
      } else {
        body(path.float64, double(), begin, count);
      }
    }
  });
}

template <typename Body>
StepNorms sum_of_blocks(const Tensor& like, const Body& body) {
  std::vector<StepNorms> parts(static_cast<size_t>((like.numel() + kBlock - 1) / kBlock));
  for_blocks(like, [&](const auto& kernels, auto zero, int64_t begin, int64_t count) {
    parts[static_cast<size_t>(begin / kBlock)] = body(kernels, zero, begin, count);
  });
  StepNorms norms;
  for (const StepNorms& part : parts) {
    norms.difference += part.difference;
    norms.reference += part.reference;
  }
  return norms;
}

// The steps by LibTorch's operators, for devices and dtypes without kernels.
Tensor given_or(const Tensor& out, const Tensor& result) {
  if (!out.defined()) return result;
  Tensor target = out;
  torch::stable::copy_(target, result);
  return target;
}

}  // namespace

Tensor add_scaled(const Tensor& x, const Tensor& f, double a, const Tensor& out) {
  if (!has_kernels(x)) {
    check_like(f, x, "add_scaled");
    return given_or(out, plus_scaled(x, f, a));
  }
  Prepared p("add_scaled", {&x, &f}, out);
  for_blocks(p.out, [&](const auto& kernels, auto zero, int64_t begin, int64_t count) {
    using T = decltype(zero);
    kernels.add_scaled(data<T>(p.out) + begin, data<T>(p.inputs[0]) + begin, data<T>(p.inputs[1]) + begin, a, count);
  });
  return p.finish(out);
}

Tensor add_scaled_sum(const Tensor& x, const Tensor& f, const Tensor& g, double a, const Tensor& out) {
  if (!has_kernels(x)) {
    check_like(f, x, "add_scaled_sum");
    check_like(g, x, "add_scaled_sum");
    return given_or(out, plus_scaled(x, plus_scaled(f, g, 1.0), a));
  }
  Prepared p("add_scaled_sum", {&x, &f, &g}, out);
  for_blocks(p.out, [&](const auto& kernels, auto zero, int64_t begin, int64_t count) {
    using T = decltype(zero);
    kernels.add_scaled_sum(data<T>(p.out) + begin, data<T>(p.inputs[0]) + begin, data<T>(p.inputs[1]) + begin,
                           data<T>(p.inputs[2]) + begin, a, count);
  });
  return p.finish(out);
}

Tensor correct(const Tensor& y, const Tensor& f, const Tensor& predicted, double a, StepNorms& norms,
               const Tensor& out) {
  if (!has_kernels(y)) {
    check_like(f, y, "correct");
    check_like(predicted, y, "correct");
    const double slope = sum_of_squares(f);
    const Tensor result = plus_scaled(y, f, -a);
    norms = {sum_of_squares(plus_scaled(predicted, result, -1.0)), a * a * slope};
    return given_or(out, result);
  }
  Prepared p("correct", {&y, &f, &predicted}, out);
  norms = sum_of_blocks(p.out, [&](const auto& kernels, auto zero, int64_t begin, int64_t count) {
    using T = decltype(zero);
    return kernels.correct(data<T>(p.out) + begin, data<T>(p.inputs[0]) + begin, data<T>(p.inputs[1]) + begin,
                           data<T>(p.inputs[2]) + begin, a, count);
  });
  return p.finish(out);
}

Tensor extrapolate(const Tensor& y, const std::vector<Tensor>& f, const std::vector<double>& coefficients, double a,
                   const Tensor& out) {
  if (f.empty() || f.size() > 3 || f.size() != coefficients.size()) {
    throw Error("extrapolate: " + std::to_string(f.size()) + " slopes and " + std::to_string(coefficients.size()) +
                " coefficients, expected 1 to 3 of each");
  }
  if (!has_kernels(y)) {
    Tensor slope = scaled(f[0], coefficients[0]);
    for (size_t k = 1; k < f.size(); ++k) slope = plus_scaled(slope, f[k], coefficients[k]);
    return given_or(out, plus_scaled(y, slope, -a));
  }
  // A missing slope is stood in for by y, which the kernel then does not read.
  Prepared p("extrapolate", {&y, &f[0], f.size() > 1 ? &f[1] : &y, f.size() > 2 ? &f[2] : &y}, out);
  for_blocks(p.out, [&](const auto& kernels, auto zero, int64_t begin, int64_t count) {
    using T = decltype(zero);
    const T* slopes[3] = {data<T>(p.inputs[1]) + begin, data<T>(p.inputs[2]) + begin, data<T>(p.inputs[3]) + begin};
    kernels.extrapolate(data<T>(p.out) + begin, data<T>(p.inputs[0]) + begin, slopes, coefficients.data(),
                        static_cast<int64_t>(f.size()), a, count);
  });
  return p.finish(out);
}

StepNorms distance(const Tensor& x, const Tensor& reference) {
  if (!has_kernels(x)) {
    check_like(reference, x, "distance");
    return {sum_of_squares(plus_scaled(x, reference, -1.0)), sum_of_squares(reference)};
  }
  Prepared p("distance", {&x, &reference}, x);
  return sum_of_blocks(p.inputs[0], [&](const auto& kernels, auto zero, int64_t begin, int64_t count) {
    using T = decltype(zero);
    return kernels.distance(data<T>(p.inputs[0]) + begin, data<T>(p.inputs[1]) + begin, count);
  });
}

}  // namespace resnet_nodes
