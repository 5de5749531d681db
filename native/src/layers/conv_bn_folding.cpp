#include "layers/conv_bn_folding.h"

#include <torch/csrc/stable/ops.h>

#include "device/cuda_launch.h"
#include "tensors/layout.h"
#include "tensors/operators.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

// Elements between one channel and the next; 0 where x is neither channels_last nor row-major.
int64_t channel_stride(const Tensor& x) {
  if (is_pixel_major(x)) return 1;
  const int64_t c = x.size(1), h = x.size(2), w = x.size(3);
  const auto is = [&](int64_t i, int64_t stride) { return x.size(i) == 1 || x.stride(i) == stride; };
  return is(0, c * h * w) && is(1, h * w) && is(2, w) && is(3, 1) ? h * w : 0;
}

bool is_row(const Tensor& tensor, ScalarType type) { return tensor.scalar_type() == type && tensor.stride(0) == 1; }

// In mixed precision weights are as wide as statistics.
bool has_wide_affine(const Tensor& x, const KnownNorm& norm) {
  return norm.weight.defined() && norm.weight.scalar_type() == wide_type(x);
}

const void* memory_or_null(const Tensor& tensor) { return tensor.defined() ? tensor.const_data_ptr() : nullptr; }

}  // namespace

bool folds(const Tensor& x) { return x.is_cpu() && x.dim() == 4 && x.scalar_type() == ScalarType::Float; }

Tensor folded_convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, const LayerSpec& shape,
                          const KnownNorm& norm, bool relu) {
  const Tensor scale = norm.weight.defined() ? product(norm.invstd, norm.weight) : norm.invstd;
  Tensor shift = product(bias.defined() ? plus_scaled(bias, norm.mean, -1.0) : scaled(norm.mean, -1.0), scale);
  if (norm.bias.defined()) shift = plus_scaled(shift, norm.bias, 1.0);
  const Tensor folded = product(weight, column(scale));
  const Tensor result = convolution(x, folded, shift, shape);
  return relu ? resnet_nodes::relu(result) : result;
}

bool normalizes_at_once(const Tensor& x, const KnownNorm& norm) {
  if (cuda_kernels_for(x) == nullptr || x.dim() != 4 || channel_stride(x) == 0) return false;
  const ScalarType wide = wide_type(x), affine = has_wide_affine(x, norm) ? wide : x.scalar_type();
  return is_row(norm.mean, wide) && is_row(norm.invstd, wide) &&
         (!norm.weight.defined() || is_row(norm.weight, affine)) && (!norm.bias.defined() || is_row(norm.bias, affine));
}

Tensor normalized(const Tensor& x, const KnownNorm& norm, bool relu) {
  const CudaKernels* kernels = cuda_kernels_for(x);
  const Tensor out = torch::stable::empty_like(x);
  launch("normalize", x, [&](ElementType type, void* stream) {
    return kernels->normalize(type, out.mutable_data_ptr(), x.const_data_ptr(), norm.mean.const_data_ptr(),
                              norm.invstd.const_data_ptr(), memory_or_null(norm.weight), memory_or_null(norm.bias),
                              has_wide_affine(x, norm), relu, x.size(1), channel_stride(x), x.numel(), stream);
  });
  return out;
}

}  // namespace resnet_nodes
