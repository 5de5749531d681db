#include "tensors/operators.h"

#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/util/HeaderOnlyArrayRef.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "resnet_nodes/runtime.h"
#include "tensors/dispatcher.h"
#include "tensors/layout.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::HeaderOnlyArrayRef;

HeaderOnlyArrayRef<bool> list(const GradientMask& mask) { return HeaderOnlyArrayRef<bool>(mask.data(), mask.size()); }

// Operators return undefined tensors for what the mask leaves out; the stable ABI carries them as such.
std::vector<int64_t> padding(const LayerSpec& s) { return {s.padding_height, s.padding_width}; }
std::vector<int64_t> dilation(const LayerSpec& s) { return {s.dilation_height, s.dilation_width}; }
std::vector<int64_t> stride(const LayerSpec& s) { return {s.stride_height, s.stride_width}; }
const std::vector<int64_t> kNoOutputPadding{0, 0};

Tensor flat_rows(const Tensor& x, int64_t width) {
  return call_operator<1>("aten::reshape", "", x, std::vector<int64_t>{-1, width})[0];
}

// A view.
Tensor every_stride_th(const Tensor& x, const LayerSpec& shape) {
  const std::optional<int64_t> all;
  const Tensor rows = call_operator<1>("aten::slice", "Tensor", x, int64_t{2}, all, all, shape.stride_height)[0];
  return call_operator<1>("aten::slice", "Tensor", rows, int64_t{3}, all, all, shape.stride_width)[0];
}

Tensor transposed(const Tensor& x) { return call_operator<1>("aten::t", "", x)[0]; }

Tensor convolution_at_once(const Tensor& x, const Tensor& weight, const Tensor& bias, const LayerSpec& shape) {
  return call_operator<1>("aten::convolution", "", x, weight, optional(bias), stride(shape), padding(shape),
                          dilation(shape), false, kNoOutputPadding, shape.groups)[0];
}

GradientTriple convolution_backward_at_once(const Tensor& grad, const Tensor& x, const Tensor& weight,
                                            const LayerSpec& shape, const GradientMask& mask) {
  std::optional<std::vector<int64_t>> bias_sizes;
  if (shape.bias) bias_sizes.emplace(1, shape.out_features);
  return call_operator<3>("aten::convolution_backward", "", grad, x, weight, bias_sizes, stride(shape), padding(shape),
                          dilation(shape), false, kNoOutputPadding, shape.groups, list(mask));
}

// Without oneDNN LibTorch lays the windows of all images out at once, several times as large as x, and has no fast
// products of narrow types. So many images at a time, then, that what is laid out takes no more than this part of x.
constexpr int64_t kPartOfX = 8;

int64_t images_at_once(const Tensor& x, const Tensor& weight, const LayerSpec& shape) {
  const int64_t window = weight.size(2) * weight.size(3), stride = shape.stride_height * shape.stride_width;
  const bool copied = window > 1 || stride > 1 || x.scalar_type() != wide_type(x);
  if (!x.is_cpu() || uses_onednn() || !copied) return x.size(0);
  return std::clamp<int64_t>(x.size(0) * stride / (kPartOfX * window), 1, x.size(0));
}

Tensor widened(const Tensor& x) { return x.defined() ? torch::stable::to(x, wide_type(x)) : x; }

Tensor whole_convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, const LayerSpec& shape) {
  const int64_t images = x.size(0), most = images_at_once(x, weight, shape);
  if (most == images) return convolution_at_once(x, weight, bias, shape);
  const Tensor wide_weight = widened(weight), wide_bias = widened(bias);
  Tensor all;
  for (int64_t first = 0; first < images; first += most) {
    const int64_t count = std::min(most, images - first);
    const Tensor some = torch::stable::to(
        convolution_at_once(widened(part_of(x, 0, first, count)), wide_weight, wide_bias, shape), x.scalar_type());
    if (!all.defined()) all = whole_like(some, 0, images);
    Tensor place = part_of(all, 0, first, count);
    torch::stable::copy_(place, some);
  }
  return all;
}

GradientTriple whole_convolution_backward(const Tensor& grad, const Tensor& x, const Tensor& weight,
                                          const LayerSpec& shape, const GradientMask& mask) {
  const int64_t images = x.size(0), most = images_at_once(x, weight, shape);
  if (most == images) return convolution_backward_at_once(grad, x, weight, shape, mask);
  const Tensor wide_weight = widened(weight);
  GradientTriple all;
  for (int64_t first = 0; first < images; first += most) {
    const int64_t count = std::min(most, images - first);
    const GradientTriple some = convolution_backward_at_once(
        widened(part_of(grad, 0, first, count)), widened(part_of(x, 0, first, count)), wide_weight, shape, mask);
    if (mask[0]) {
      if (!all[0].defined()) all[0] = torch::stable::empty_like(x);
      Tensor place = part_of(all[0], 0, first, count);
      torch::stable::copy_(place, some[0]);
    }
    for (const size_t i : {size_t{1}, size_t{2}}) {
      if (mask[i]) all[i] = all[i].defined() ? plus_scaled(all[i], some[i], 1.0) : some[i];
    }
  }
  for (const size_t i : {size_t{1}, size_t{2}}) {
    if (mask[i]) all[i] = torch::stable::to(all[i], weight.scalar_type());
  }
  return all;
}

// body(first, how many, the shape of these) for some output channels after the other.
template <typename Body>
void for_slices(const Tensor& weight, const LayerSpec& shape, const Body& body) {
  const int64_t channels = weight.size(0), count = channels / (weight.numel() / kLargeWeight);
  LayerSpec slice = shape;
  for (int64_t first = 0; first < channels; first += count) {
    slice.out_features = std::min(count, channels - first);
    body(first, slice.out_features, slice);
  }
}

}  // namespace

bool is_sliced(const Tensor& x, const Tensor& weight, const LayerSpec& shape) {
  const int64_t slices = weight.numel() / kLargeWeight;
  return weight.is_cpu() && shape.groups == 1 && slices >= 2 && weight.numel() >= x.numel() &&
         weight.size(0) >= 2 * slices;
}

Tensor convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, const LayerSpec& shape) {
  if (!is_sliced(x, weight, shape)) return whole_convolution(x, weight, bias, shape);
  Tensor all;
  for_slices(weight, shape, [&](int64_t first, int64_t count, const LayerSpec& slice) {
    const Tensor some = whole_convolution(x, part_of(weight, 0, first, count),
                                          bias.defined() ? part_of(bias, 0, first, count) : bias, slice);
    if (!all.defined()) all = whole_like(some, 1, weight.size(0));
    Tensor place = part_of(all, 1, first, count);
    torch::stable::copy_(place, some);
  });
  return all;
}

GradientTriple convolution_backward(const Tensor& grad, const Tensor& x, const Tensor& weight, const LayerSpec& shape,
                                    const GradientMask& mask, const Tensor& weight_sum) {
  if (!is_sliced(x, weight, shape)) return whole_convolution_backward(grad, x, weight, shape, mask);
  GradientTriple all;
  if (mask[1] && !weight_sum.defined()) all[1] = torch::stable::empty_like(weight);
  for_slices(weight, shape, [&](int64_t first, int64_t count, const LayerSpec& slice) {
    LayerSpec unbiased = slice;
    unbiased.bias = false;
    const GradientTriple some =
        whole_convolution_backward(state_layout(part_of(grad, 1, first, count)), x, part_of(weight, 0, first, count),
                                   unbiased, {mask[0], mask[1], false});
    if (mask[0]) all[0] = all[0].defined() ? plus_scaled(all[0], some[0], 1.0) : some[0];
    if (!mask[1]) return;
    Tensor place = part_of(weight_sum.defined() ? weight_sum : all[1], 0, first, count);
    torch::stable::copy_(place, weight_sum.defined() ? plus_scaled(place, some[1], 1.0) : some[1]);
  });
  if (mask[2]) {
    all[2] = call_operator<1>("aten::sum", "dim_IntList", grad, std::optional(std::vector<int64_t>{0, 2, 3}), false,
                              std::optional<torch::headeronly::ScalarType>())[0];
  }
  return all;
}

Tensor subsampled(const Tensor& x, const LayerSpec& shape) { return state_layout(every_stride_th(x, shape)); }

Tensor subsampled_backward(const Tensor& grad, const Tensor& x, const LayerSpec& shape) {
  Tensor all = torch::stable::empty_like(x);
  torch::stable::zero_(all);
  Tensor places = every_stride_th(all, shape);
  torch::stable::copy_(places, grad);
  return all;
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return call_operator<1>("aten::linear", "", x, weight, optional(bias))[0];
}

GradientTriple linear_backward(const Tensor& grad, const Tensor& x, const Tensor& weight, const GradientMask& mask) {
  GradientTriple gradients;
  if (mask[0]) gradients[0] = call_operator<1>("aten::matmul", "", grad, weight)[0];
  if (!mask[1] && !mask[2]) return gradients;
  const Tensor rows = flat_rows(grad, weight.size(0));
  if (mask[1]) gradients[1] = call_operator<1>("aten::mm", "", transposed(rows), flat_rows(x, weight.size(1)))[0];
  if (mask[2]) {
    gradients[2] = call_operator<1>("aten::sum", "dim_IntList", rows, std::optional(std::vector<int64_t>{0}), false,
                                    std::optional<torch::headeronly::ScalarType>())[0];
  }
  return gradients;
}

GradientTriple batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                          const Tensor& running_variance, bool training, double momentum, double epsilon) {
  return call_operator<3>("aten::native_batch_norm", "", x, optional(weight), optional(bias), optional(running_mean),
                          optional(running_variance), training, momentum, epsilon);
}

GradientTriple batch_norm_backward(const Tensor& grad, const Tensor& x, const Tensor& weight,
                                   const Tensor& running_mean, const Tensor& running_variance, const Tensor& mean,
                                   const Tensor& invstd, bool training, double epsilon, const GradientMask& mask) {
  if (!mean.defined() && x.is_cuda()) {
    // CUDA's operator asks for statistics that are there but empty where the running ones are to be used.
    const Tensor none = torch::stable::empty(std::vector<int64_t>{0}, wide_type(x), std::nullopt, x.device());
    return batch_norm_backward(grad, x, weight, running_mean, running_variance, none, none, training, epsilon, mask);
  }
  return call_operator<3>("aten::native_batch_norm_backward", "", grad, x, optional(weight), optional(running_mean),
                          optional(running_variance), optional(mean), optional(invstd), training, epsilon, list(mask));
}

Tensor inverse_square(const Tensor& x) {
  return call_operator<1>("aten::reciprocal", "", call_operator<1>("aten::mul", "Tensor", x, x)[0])[0];
}

Tensor relu(const Tensor& x) { return call_operator<1>("aten::relu", "", x)[0]; }

Tensor greater(const Tensor& x, const Tensor& y) { return call_operator<1>("aten::maximum", "", x, y)[0]; }

torch::headeronly::ScalarType wide_type(const Tensor& x) {
  using torch::headeronly::ScalarType;
  return x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

Tensor plus_scaled(const Tensor& x, const Tensor& y, double a) { return torch::stable::subtract(x, y, -a); }

Tensor sum_of_squares(const Tensor& x) {
  using torch::headeronly::ScalarType;
  const Tensor wide = torch::stable::to(x, wide_type(x));
  return call_operator<1>("aten::sum", "", call_operator<1>("aten::mul", "Tensor", wide, wide)[0],
                          std::optional<ScalarType>(ScalarType::Double))[0];
}

Tensor product(const Tensor& x, const Tensor& y) { return call_operator<1>("aten::mul", "Tensor", x, y)[0]; }

Tensor column(const Tensor& x) {
  return call_operator<1>("aten::reshape", "", x, std::vector<int64_t>{-1, 1, 1, 1})[0];
}

// A number on the host is an argument of the kernel; one on a GPU would take a launch of its own.
Tensor scaled(const Tensor& x, double a) {
  const Tensor number = torch::stable::full(std::vector<int64_t>{}, a, x.scalar_type(), std::nullopt,
                                            torch::stable::Device(torch::headeronly::DeviceType::CPU));
  return product(x, number);
}

Tensor number_like(const Tensor& x, double value) {
  return torch::stable::full(std::vector<int64_t>{}, value, x.scalar_type(), std::nullopt, x.device());
}

NoGradient::NoGradient() : before_(aoti_torch_grad_mode_is_enabled()) { aoti_torch_grad_mode_set_enabled(false); }

NoGradient::~NoGradient() { aoti_torch_grad_mode_set_enabled(before_); }

}  // namespace resnet_nodes
