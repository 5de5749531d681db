#include "operators.h"

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/c/shim.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/stableivalue_conversions.h>
#include <torch/headeronly/core/MemoryFormat.h>
#include <torch/headeronly/util/HeaderOnlyArrayRef.h>

#include <optional>
#include <sstream>
#include <vector>

#include "active_kernels.h"
#include "cuda_launch.h"
#include "resnet_nodes/error.h"
#include "steps.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::HeaderOnlyArrayRef;
using torch::headeronly::MemoryFormat;
using torch::stable::detail::from;
using torch::stable::detail::to;
using OptionalTensor = std::optional<Tensor>;

// From LibTorch 2.13 on the library tells the reason of a failure; before, it writes it to standard error alone.
std::string last_reason() {
  using Reason = const char* (*)();
  static const auto reason = reinterpret_cast<Reason>(
      torch::stable::detail::lookup_stable_symbol("torch_exception_get_what_without_backtrace"));
  const char* text = reason != nullptr ? reason() : nullptr;
  if (text == nullptr) return "LibTorch's reason is on standard error";
  const std::string whole(text);
  return whole.substr(0, whole.find('\n'));
}

// Calls an operator with boxed arguments. Every result is a tensor and is taken off the stack, so that none leaks.
template <size_t kResults, typename... Arguments>
std::array<Tensor, kResults> call(const char* name, const char* overload, const Arguments&... arguments) {
  constexpr size_t kSlots = sizeof...(Arguments) > kResults ? sizeof...(Arguments) : kResults;
  std::array<StableIValue, kSlots> stack{from(arguments)...};
  if (torch_call_dispatcher(name, overload, stack.data(), TORCH_ABI_VERSION) != AOTI_TORCH_SUCCESS) {
    throw Error(std::string(name) + " failed: " + last_reason());
  }
  std::array<Tensor, kResults> results;
  for (size_t i = 0; i < kResults; ++i) results[i] = to<Tensor>(stack[i]);
  return results;
}

OptionalTensor optional(const Tensor& tensor) { return tensor.defined() ? OptionalTensor(tensor) : std::nullopt; }

HeaderOnlyArrayRef<bool> list(const GradientMask& mask) { return HeaderOnlyArrayRef<bool>(mask.data(), mask.size()); }

constexpr int64_t kGrain = 16384;

// Operators return undefined tensors for what the mask leaves out; the stable ABI carries them as such.
std::vector<int64_t> padding(const LayerSpec& s) { return {s.padding_height, s.padding_width}; }
std::vector<int64_t> dilation(const LayerSpec& s) { return {s.dilation_height, s.dilation_width}; }
const std::vector<int64_t> kUnitStride{1, 1};
const std::vector<int64_t> kNoOutputPadding{0, 0};

Tensor flat_rows(const Tensor& x, int64_t width) {
  return call<1>("aten::reshape", "", x, std::vector<int64_t>{-1, width})[0];
}

Tensor transposed(const Tensor& x) { return call<1>("aten::t", "", x)[0]; }

// The stable ABI carries no Scalar arguments; a tensor of no dimension of x's dtype takes the place of one.
Tensor number_like(const Tensor& x, double value) {
  return torch::stable::full(std::vector<int64_t>{}, value, x.scalar_type(), std::nullopt, x.device());
}

Tensor cudnn_relu(const Tensor& x, const Tensor& weight, const Tensor& bias, const std::vector<int64_t>& padding,
                  const std::vector<int64_t>& dilation, int64_t groups) {
  return call<1>("aten::cudnn_convolution_relu", "", x, weight, optional(bias), kUnitStride, padding, dilation,
                 groups)[0];
}

// LibTorch may be built without cuDNN: asked once, with a convolution of one number.
bool has_cudnn_relu(const Tensor& x) {
  static const bool found = [&] {
    const Tensor one =
        torch::stable::full(std::vector<int64_t>{1, 1, 1, 1}, 1.0, x.scalar_type(), std::nullopt, x.device());
    try {
      cudnn_relu(one, one, Tensor(), {0, 0}, {1, 1}, 1);
      return true;
    } catch (const Error&) {
      return false;
    }
  }();
  return found;
}

// One pass over memory where both are dense CPU tensors of one layout; nothing where they are not.
std::optional<Tensor> relu_backward_on_cpu(const Tensor& grad, const Tensor& output) {
  using torch::headeronly::ScalarType;
  const ScalarType type = grad.scalar_type();
  if (!grad.is_cpu() || (type != ScalarType::Float && type != ScalarType::Double) || !same_dense_layout(grad, output)) {
    return std::nullopt;
  }
  Tensor result = torch::stable::empty_like(grad);
  if (!same_dense_layout(grad, result)) return std::nullopt;
  const KernelPath& path = active_kernels();
  const auto mask = [&]<typename T>(const StepKernels<T>& kernels) {
    auto* to = static_cast<T*>(result.mutable_data_ptr());
    const auto *from = static_cast<const T*>(grad.const_data_ptr()),
               *sign = static_cast<const T*>(output.const_data_ptr());
    torch::stable::parallel_for(0, grad.numel(), kGrain, [&](int64_t begin, int64_t end) {
      kernels.relu_backward(to + begin, from + begin, sign + begin, end - begin);
    });
  };
  if (type == ScalarType::Float) {
    mask(path.float32);
  } else {
    mask(path.float64);
  }
  return result;
}

std::optional<Tensor> relu_backward_on_cuda(const Tensor& grad, const Tensor& output) {
  const CudaKernels* kernels = cuda_kernels_for(grad);
  if (kernels == nullptr || !same_dense_layout(grad, output)) return std::nullopt;
  Tensor result = torch::stable::empty_like(grad);
  if (!same_dense_layout(grad, result)) return std::nullopt;
  launch("relu_backward", grad, [&](ElementType type, void* stream) {
    return kernels->relu_backward(type, result.mutable_data_ptr(), grad.const_data_ptr(), output.const_data_ptr(),
                                  grad.numel(), stream);
  });
  return result;
}

const std::string& approximation(bool tanh_approximation) {
  static const std::string kTanh = "tanh", kNone = "none";
  return tanh_approximation ? kTanh : kNone;
}

}  // namespace

std::string shape_text(const Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  std::ostringstream text;
  text << "[";
  for (int64_t i = 0; i < tensor.dim(); ++i) text << (i > 0 ? ", " : "") << tensor.size(i);
  text << "]";
  return text.str();
}

std::string dtype_text(const Tensor& tensor) {
  using torch::headeronly::ScalarType;
  const ScalarType type = tensor.scalar_type();
  if (type == ScalarType::Float) return "float32";
  if (type == ScalarType::Double) return "float64";
  if (type == ScalarType::BFloat16) return "bfloat16";
  if (type == ScalarType::Half) return "float16";
  if (type == ScalarType::Long) return "int64";
  return "type " + std::to_string(static_cast<int>(type));
}

std::string device_text(const Tensor& tensor) {
  if (tensor.is_cpu()) return "cpu";
  return (tensor.is_cuda() ? "cuda:" : "device ") + std::to_string(static_cast<int>(tensor.get_device_index()));
}

bool same_sizes(const Tensor& a, const Tensor& b) {
  if (a.dim() != b.dim()) return false;
  for (int64_t i = 0; i < a.dim(); ++i) {
    if (a.size(i) != b.size(i)) return false;
  }
  return true;
}

bool same_dense_layout(const Tensor& a, const Tensor& b) {
  if (a.scalar_type() != b.scalar_type() || !same_sizes(a, b)) return false;
  int64_t span = 1;
  for (int64_t i = 0; i < a.dim(); ++i) {
    if (a.size(i) > 1 && a.stride(i) != b.stride(i)) return false;
    span += (a.size(i) - 1) * a.stride(i);
  }
  return span == a.numel();
}

Tensor convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, const LayerSpec& shape) {
  return call<1>("aten::convolution", "", x, weight, optional(bias), kUnitStride, padding(shape), dilation(shape),
                 false, kNoOutputPadding, shape.groups)[0];
}

Tensor convolution_relu(const Tensor& x, const Tensor& weight, const Tensor& bias, const LayerSpec& shape) {
  if (!x.is_cuda() || !has_cudnn_relu(x)) return relu(convolution(x, weight, bias, shape));
  return cudnn_relu(x, weight, bias, padding(shape), dilation(shape), shape.groups);
}

GradientTriple convolution_backward(const Tensor& grad, const Tensor& x, const Tensor& weight, const LayerSpec& shape,
                                    const GradientMask& mask) {
  std::optional<std::vector<int64_t>> bias_sizes;
  if (shape.bias) bias_sizes.emplace(1, shape.out_features);
  return call<3>("aten::convolution_backward", "", grad, x, weight, bias_sizes, kUnitStride, padding(shape),
                 dilation(shape), false, kNoOutputPadding, shape.groups, list(mask));
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return call<1>("aten::linear", "", x, weight, optional(bias))[0];
}

GradientTriple linear_backward(const Tensor& grad, const Tensor& x, const Tensor& weight, const GradientMask& mask) {
  GradientTriple gradients;
  if (mask[0]) gradients[0] = call<1>("aten::matmul", "", grad, weight)[0];
  if (!mask[1] && !mask[2]) return gradients;
  const Tensor rows = flat_rows(grad, weight.size(0));
  if (mask[1]) gradients[1] = call<1>("aten::mm", "", transposed(rows), flat_rows(x, weight.size(1)))[0];
  if (mask[2]) {
    gradients[2] = call<1>("aten::sum", "dim_IntList", rows, std::optional(std::vector<int64_t>{0}), false,
                           std::optional<torch::headeronly::ScalarType>())[0];
  }
  return gradients;
}

GradientTriple batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                          const Tensor& running_variance, bool training, double momentum, double epsilon) {
  return call<3>("aten::native_batch_norm", "", x, optional(weight), optional(bias), optional(running_mean),
                 optional(running_variance), training, momentum, epsilon);
}

GradientTriple batch_norm_backward(const Tensor& grad, const Tensor& x, const Tensor& weight,
                                   const Tensor& running_mean, const Tensor& running_variance, const Tensor& mean,
                                   const Tensor& inverse_deviation, bool training, double epsilon,
                                   const GradientMask& mask) {
  return call<3>("aten::native_batch_norm_backward", "", grad, x, optional(weight), optional(running_mean),
                 optional(running_variance), optional(mean), optional(inverse_deviation), training, epsilon,
                 list(mask));
}

Tensor inverse_square(const Tensor& x) {
  return call<1>("aten::reciprocal", "", call<1>("aten::mul", "Tensor", x, x)[0])[0];
}

Tensor relu(const Tensor& x) { return call<1>("aten::relu", "", x)[0]; }

Tensor relu_backward(const Tensor& grad, const Tensor& output) {
  std::optional<Tensor> masked = relu_backward_on_cpu(grad, output);
  if (!masked) masked = relu_backward_on_cuda(grad, output);
  if (masked) return *masked;
  const Tensor zero = number_like(grad, 0);
  return call<1>("aten::where", "self", call<1>("aten::gt", "Tensor", output, zero)[0], grad, zero)[0];
}

Tensor tanh(const Tensor& x) { return call<1>("aten::tanh", "", x)[0]; }

Tensor tanh_backward(const Tensor& grad, const Tensor& output) {
  return call<1>("aten::tanh_backward", "", grad, output)[0];
}

Tensor gelu(const Tensor& x, bool tanh_approximation) {
  return call<1>("aten::gelu", "", x, approximation(tanh_approximation))[0];
}

Tensor gelu_backward(const Tensor& grad, const Tensor& x, bool tanh_approximation) {
  return call<1>("aten::gelu_backward", "", grad, x, approximation(tanh_approximation))[0];
}

Tensor plus_scaled(const Tensor& x, const Tensor& y, double a) { return torch::stable::subtract(x, y, -a); }

Tensor sum_of_squares(const Tensor& x) {
  using torch::headeronly::ScalarType;
  const ScalarType type = x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  const Tensor wide = torch::stable::to(x, type);
  return call<1>("aten::sum", "", call<1>("aten::mul", "Tensor", wide, wide)[0],
                 std::optional<ScalarType>(ScalarType::Double))[0];
}

double number_of(const Tensor& x) {
  const Tensor here = torch::stable::to(x, torch::stable::Device(torch::headeronly::DeviceType::CPU));
  return *static_cast<const double*>(here.const_data_ptr());
}

Tensor product(const Tensor& x, const Tensor& y) { return call<1>("aten::mul", "Tensor", x, y)[0]; }

Tensor column(const Tensor& x) { return call<1>("aten::reshape", "", x, std::vector<int64_t>{-1, 1, 1, 1})[0]; }

Tensor scaled(const Tensor& x, double a) { return call<1>("aten::mul", "Tensor", x, number_like(x, a))[0]; }

Tensor state_layout(const Tensor& x) {
  const MemoryFormat format = x.dim() == 4 ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  return call<1>("aten::contiguous", "", x, format)[0];
}

NoGradient::NoGradient() : before_(aoti_torch_grad_mode_is_enabled()) { aoti_torch_grad_mode_set_enabled(false); }

NoGradient::~NoGradient() { aoti_torch_grad_mode_set_enabled(before_); }

}  // namespace resnet_nodes
