#include "steps.h"

#include <torch/csrc/stable/ops.h>

#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>

#include "active_kernels.h"
#include "cuda_launch.h"
#include "operators.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

// Elements that one thread takes at a time, and over which a sum is added up: fixed, so that results do not depend on
// the number of threads.
constexpr int64_t kBlock = 16384;
constexpr size_t kInputs = 4;

struct Argument {
  const char* name;
  const Tensor& tensor;
};

std::string text(const Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  return dtype_text(tensor) + " " + shape_text(tensor) + " on " + device_text(tensor);
}

bool is_floating(const Tensor& tensor) {
  const ScalarType type = tensor.scalar_type();
  return type == ScalarType::Float || type == ScalarType::Double || type == ScalarType::BFloat16 ||
         type == ScalarType::Half;
}

void check_like(const char* step, const Argument& argument, const Argument& first) {
  const Tensor &tensor = argument.tensor, &like = first.tensor;
  if (!tensor.defined() || !same_sizes(tensor, like) || tensor.scalar_type() != like.scalar_type() ||
      device_text(tensor) != device_text(like)) {
    throw Error(std::string(step) + ": " + argument.name + " is " + text(tensor) + ", expected " + text(like) +
                " like " + first.name);
  }
}

// For every device: operators would broadcast what does not fit, and convert what has another type.
void check(const char* step, std::initializer_list<Argument> inputs, const Tensor& out) {
  const Argument& first = *inputs.begin();
  if (!first.tensor.defined() || !is_floating(first.tensor)) {
    throw Error(std::string(step) + ": " + first.name + " is " + text(first.tensor) +
                ", expected float32, float64, bfloat16 or float16");
  }
  for (const Argument& input : inputs) check_like(step, input, first);
  if (out.defined()) check_like(step, {"out", out}, first);
}

// Whether the elements fill their memory, each in a place of its own: not so for slices and for expanded dimensions.
bool is_dense(const Tensor& tensor) {
  int64_t filled = 1;
  for (bool found = true; found;) {
    found = false;
    for (int64_t i = 0; i < tensor.dim(); ++i) {
      if (tensor.size(i) <= 1 || tensor.stride(i) != filled) continue;
      filled *= tensor.size(i);
      found = true;
    }
  }
  return filled == tensor.numel() || tensor.numel() == 0;
}

// Whether a flat loop may write to `out` while it reads `input`: at the same places, or apart. Both are dense.
bool loops_together(const Tensor& input, const Tensor& out) {
  if (!same_dense_layout(input, out)) return false;
  const auto bytes = static_cast<uintptr_t>(out.numel()) * out.element_size();
  const auto from = reinterpret_cast<uintptr_t>(input.const_data_ptr());
  const auto to = reinterpret_cast<uintptr_t>(out.const_data_ptr());
  return from == to || from + bytes <= to || to + bytes <= from;
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

  Prepared(std::initializer_list<std::reference_wrapper<const Tensor>> list, const Tensor& given) {
    const Tensor& first = *list.begin();
    out = given.defined() ? given : torch::stable::empty_like(first);
    if (!is_dense(out)) {
      // The target has gaps: compute beside it.
      out = torch::stable::empty_like(first);
      copy_back = true;
    }
    for (const Tensor& input : list) {
      if (loops_together(input, out)) {
        inputs[count++] = input;
      } else {
        Tensor copy = torch::stable::empty_like(out);
        torch::stable::copy_(copy, input);
        inputs[count++] = copy;
      }
    }
  }

  Tensor finish(const Tensor& given) {
    if (!copy_back) return out;
    Tensor written = given;
    torch::stable::copy_(written, out);
    return written;
  }
};

template <typename T>
const T* data(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

template <typename T>
T* target(const Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

// Calls body(kernels of T, T(), begin, count) for each block.
template <typename Body>
void for_blocks(const Tensor& like, const Body& body) {
  const KernelPath& path = active_kernels();
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
  return sum_of(parts);
}

// The steps by LibTorch's operators, for devices and dtypes without kernels.
Tensor given_or(const Tensor& out, const Tensor& result) {
  if (!out.defined()) return result;
  Tensor written = out;
  torch::stable::copy_(written, result);
  return written;
}

// Of a - b, subtracted in at least float32: differences of states are below what narrow types can tell.
Tensor squared_distance(const Tensor& a, const Tensor& b) {
  const ScalarType type = a.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  return sum_of_squares(plus_scaled(torch::stable::to(a, type), torch::stable::to(b, type), -1.0));
}

const void* memory(const Tensor& tensor) { return tensor.const_data_ptr(); }

void set_norm(const Tensor& norms, MeasuredNorm which, const Tensor& value) {
  Tensor all = norms;
  Tensor one = torch::stable::narrow(all, 0, which, 1);
  torch::stable::copy_(one, value);
}

double* doubles(const Tensor& tensor) { return static_cast<double*>(tensor.mutable_data_ptr()); }

void set_all(const Tensor& norms, const StepNorms& found, const StepNorms& moved) {
  double* values = doubles(norms);
  values[kDifference] = found.difference, values[kReference] = found.reference;
  values[kState] = moved.reference, values[kMoved] = moved.difference;
}

Tensor scratch_for(const CudaKernels& kernels, const Tensor& x) {
  return torch::stable::empty(std::vector<int64_t>{kernels.scratch_doubles}, ScalarType::Double, std::nullopt,
                              x.device());
}

StepNorms read(const Tensor& norms) {
  const Tensor here = torch::stable::to(norms, torch::stable::Device(torch::headeronly::DeviceType::CPU));
  const auto* values = static_cast<const double*>(here.const_data_ptr());
  return {values[kDifference], values[kReference]};
}

}  // namespace

StepNorms sum_of(const std::vector<StepNorms>& parts) {
  StepNorms sum;
  for (const StepNorms& part : parts) {
    sum.difference += part.difference;
    sum.reference += part.reference;
  }
  return sum;
}

Tensor add_scaled(const Tensor& x, const Tensor& f, double a, const Tensor& out) {
  check("add_scaled", {{"x", x}, {"f", f}}, out);
  const CudaKernels* cuda = cuda_kernels_for(x);
  if (!has_kernels(x) && cuda == nullptr) return given_or(out, plus_scaled(x, f, a));
  Prepared p({x, f}, out);
  if (cuda != nullptr) {
    launch("add_scaled", x, [&](ElementType type, void* stream) {
      return cuda->add_scaled(type, p.out.mutable_data_ptr(), memory(p.inputs[0]), memory(p.inputs[1]), a,
                              p.out.numel(), stream);
    });
    return p.finish(out);
  }
  for_blocks(p.out, [&](const auto& kernels, auto zero, int64_t begin, int64_t count) {
    using T = decltype(zero);
    kernels.add_scaled(target<T>(p.out) + begin, data<T>(p.inputs[0]) + begin, data<T>(p.inputs[1]) + begin, a, count);
  });
  return p.finish(out);
}

Tensor add_scaled_sum(const Tensor& x, const Tensor& f, const Tensor& g, double a, const Tensor& out) {
  check("add_scaled_sum", {{"x", x}, {"f", f}, {"g", g}}, out);
  const CudaKernels* cuda = cuda_kernels_for(x);
  if (!has_kernels(x) && cuda == nullptr) return given_or(out, plus_scaled(x, plus_scaled(f, g, 1.0), a));
  Prepared p({x, f, g}, out);
  if (cuda != nullptr) {
    launch("add_scaled_sum", x, [&](ElementType type, void* stream) {
      return cuda->add_scaled_sum(type, p.out.mutable_data_ptr(), memory(p.inputs[0]), memory(p.inputs[1]),
                                  memory(p.inputs[2]), a, p.out.numel(), stream);
    });
    return p.finish(out);
  }
  for_blocks(p.out, [&](const auto& kernels, auto zero, int64_t begin, int64_t count) {
    using T = decltype(zero);
    kernels.add_scaled_sum(target<T>(p.out) + begin, data<T>(p.inputs[0]) + begin, data<T>(p.inputs[1]) + begin,
                           data<T>(p.inputs[2]) + begin, a, count);
  });
  return p.finish(out);
}

Tensor correct(const Tensor& y, const Tensor& f, const Tensor& predicted, double a, StepNorms& norms,
               const Tensor& out) {
  check("correct", {{"y", y}, {"f", f}, {"predicted", predicted}}, out);
  if (!has_kernels(y)) {
    const Tensor measured = new_norms(y);
    const Tensor result = correct_measured(y, f, predicted, a, measured, out);
    norms = read(measured);
    return result;
  }
  Prepared p({y, f, predicted}, out);
  norms = sum_of_blocks(p.out, [&](const auto& kernels, auto zero, int64_t begin, int64_t count) {
    using T = decltype(zero);
    return kernels.correct(target<T>(p.out) + begin, data<T>(p.inputs[0]) + begin, data<T>(p.inputs[1]) + begin,
                           data<T>(p.inputs[2]) + begin, a, count);
  });
  return p.finish(out);
}

Tensor new_norms(const Tensor& x, int64_t rows) {
  return torch::stable::full(std::vector<int64_t>{rows * kMeasuredNorms}, 0.0, ScalarType::Double, std::nullopt,
                             x.device());
}

void set_norms(const Tensor& norms, const StepNorms& found, const Tensor& y, const Tensor& predicted) {
  set_all(norms, found, distance(predicted, y));
}

Tensor correct_measured(const Tensor& y, const Tensor& f, const Tensor& predicted, double a, const Tensor& norms,
                        const Tensor& out) {
  check("correct", {{"y", y}, {"f", f}, {"predicted", predicted}}, out);
  if (has_kernels(y)) {
    // First: `out` may be y or `predicted`.
    const StepNorms moved = distance(predicted, y);
    StepNorms found;
    const Tensor result = correct(y, f, predicted, a, found, out);
    set_all(norms, found, moved);
    return result;
  }
  if (const CudaKernels* cuda = cuda_kernels_for(y)) {
    Prepared p({y, f, predicted}, out);
    const Tensor scratch = scratch_for(*cuda, y);
    launch("correct", y, [&](ElementType type, void* stream) {
      return cuda->correct(type, p.out.mutable_data_ptr(), memory(p.inputs[0]), memory(p.inputs[1]),
                           memory(p.inputs[2]), a, p.out.numel(), doubles(norms), doubles(scratch), stream);
    });
    return p.finish(out);
  }
  const Tensor result = plus_scaled(y, f, -a);
  set_norm(norms, kDifference, squared_distance(predicted, result));
  set_norm(norms, kReference, scaled(sum_of_squares(f), a * a));
  set_norm(norms, kState, sum_of_squares(y));
  set_norm(norms, kMoved, squared_distance(predicted, y));
  return given_or(out, result);
}

Tensor extrapolate(const Tensor& y, const std::vector<Tensor>& f, const std::vector<double>& coefficients, double a,
                   const Tensor& out) {
  if (f.empty() || f.size() > 3 || f.size() != coefficients.size()) {
    throw Error("extrapolate: " + std::to_string(f.size()) + " slopes and " + std::to_string(coefficients.size()) +
                " coefficients, expected 1 to 3 of each");
  }
  // A missing slope is stood in for by y, which the kernel then does not read.
  const Tensor &first = f[0], &second = f.size() > 1 ? f[1] : y, &third = f.size() > 2 ? f[2] : y;
  check("extrapolate", {{"y", y}, {"f[0]", first}, {"f[1]", second}, {"f[2]", third}}, out);
  const CudaKernels* cuda = cuda_kernels_for(y);
  if (!has_kernels(y) && cuda == nullptr) {
    Tensor slope = scaled(f[0], coefficients[0]);
    for (size_t k = 1; k < f.size(); ++k) slope = plus_scaled(slope, f[k], coefficients[k]);
    return given_or(out, plus_scaled(y, slope, -a));
  }
  Prepared p({y, first, second, third}, out);
  if (cuda != nullptr) {
    const void* slopes[] = {memory(p.inputs[1]), memory(p.inputs[2]), memory(p.inputs[3])};
    launch("extrapolate", y, [&](ElementType type, void* stream) {
      return cuda->extrapolate(type, p.out.mutable_data_ptr(), memory(p.inputs[0]), slopes, coefficients.data(),
                               static_cast<int64_t>(f.size()), a, p.out.numel(), stream);
    });
    return p.finish(out);
  }
  for_blocks(p.out, [&](const auto& kernels, auto zero, int64_t begin, int64_t count) {
    using T = decltype(zero);
    const T* slopes[3] = {data<T>(p.inputs[1]) + begin, data<T>(p.inputs[2]) + begin, data<T>(p.inputs[3]) + begin};
    kernels.extrapolate(target<T>(p.out) + begin, data<T>(p.inputs[0]) + begin, slopes, coefficients.data(),
                        static_cast<int64_t>(f.size()), a, count);
  });
  return p.finish(out);
}

StepNorms distance(const Tensor& x, const Tensor& reference) {
  check("distance", {{"x", x}, {"reference", reference}}, Tensor());
  if (!has_kernels(x)) {
    const Tensor measured = new_norms(x);
    distance_measured(x, reference, measured);
    return read(measured);
  }
  Prepared p({x, reference}, x);
  return sum_of_blocks(p.inputs[0], [&](const auto& kernels, auto zero, int64_t begin, int64_t count) {
    using T = decltype(zero);
    return kernels.distance(data<T>(p.inputs[0]) + begin, data<T>(p.inputs[1]) + begin, count);
  });
}

void distance_measured(const Tensor& x, const Tensor& reference, const Tensor& norms) {
  check("distance", {{"x", x}, {"reference", reference}}, Tensor());
  if (has_kernels(x)) {
    const StepNorms found = distance(x, reference);
    doubles(norms)[kDifference] = found.difference, doubles(norms)[kReference] = found.reference;
  } else if (const CudaKernels* cuda = cuda_kernels_for(x)) {
    // Beside x: nothing is written, but x may have gaps.
    Prepared p({x, reference}, Tensor());
    const Tensor scratch = scratch_for(*cuda, x);
    launch("distance", x, [&](ElementType type, void* stream) {
      return cuda->distance(type, memory(p.inputs[0]), memory(p.inputs[1]), p.out.numel(), doubles(norms),
                            doubles(scratch), stream);
    });
  } else {
    set_norm(norms, kDifference, squared_distance(x, reference));
    set_norm(norms, kReference, sum_of_squares(reference));
  }
}

}  // namespace resnet_nodes
