#include "tensors/channels.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <vector>

#include "tensors/dispatcher.h"
#include "tensors/elementwise.h"
#include "tensors/layout.h"
#include "tensors/operators.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

Tensor wide(const Tensor& x) { return torch::stable::to(x, wide_type(x)); }

// [C] as [1, C, 1, 1].
Tensor by_channel(const Tensor& x) {
  return call_operator<1>("aten::reshape", "", x, std::vector<int64_t>{1, -1, 1, 1})[0];
}

Tensor doubles(const Tensor& x) { return torch::stable::to(x, ScalarType::Double); }

Tensor row(const Tensor& sums, int64_t i) {
  Tensor all = sums;
  return torch::stable::view(torch::stable::narrow(all, 0, i, 1), std::vector<int64_t>{sums.size(1)});
}

// Pixels that a thread takes at a time: as many values as other steps take, and fixed like those.
int64_t pixel_block(int64_t channels) { return std::max<int64_t>(1, kBlock / channels); }

// Images whose pixels lie one after the other, all channels of each together, on a device and of a type of the kernels.
bool has_kernels(const Tensor& g, const Tensor& x) {
  return has_cpu_kernels(x) && x.dim() == 4 && is_pixel_major(x) && is_pixel_major(g) &&
         g.scalar_type() == x.scalar_type();
}

int64_t pixels_of(const Tensor& x) { return x.size(0) * x.size(2) * x.size(3); }

template <typename T>
const T* values(const Tensor& x, int64_t first = 0) {
  return static_cast<const T*>(x.const_data_ptr()) + first;
}

Tensor like(const Tensor& x, const Tensor& channels) {
  return torch::stable::contiguous(torch::stable::to(channels, x.scalar_type()));
}

Tensor difference(const Tensor& x, const Tensor& y) { return plus_scaled(x, y, -1.0); }

std::vector<double> numbers(const Tensor& channels) {
  const Tensor row = torch::stable::contiguous(doubles(channels));
  return {values<double>(row), values<double>(row) + row.numel()};
}

}  // namespace

// By the operator's own sums, so that they are as near as those of a batch normalization. It takes running statistics
// too, whose type is that of what it returns.
ChannelMoments channel_moments(const Tensor& x) {
  const Tensor unused = torch::stable::full({x.size(1)}, 0.0, wide_type(x), std::nullopt, x.device());
  const auto [mean, variance] =
      call_operator<2>("aten::batch_norm_update_stats", "", x, optional(unused), optional(unused), 0.0);
  ChannelMoments moments{pixels_of(x), numbers(mean), numbers(variance)};
  for (double& square : moments.squares) square *= static_cast<double>(moments.values);
  return moments;
}

Tensor channel_tensor(const std::vector<double>& numbers, ScalarType type) {
  const Tensor all = torch::stable::empty({static_cast<int64_t>(numbers.size())}, ScalarType::Double);
  std::copy(numbers.begin(), numbers.end(), static_cast<double*>(all.mutable_data_ptr()));
  return torch::stable::to(all, type);
}

Tensor new_channel_sums(const Tensor& x) {
  return torch::stable::full(std::vector<int64_t>{2, x.size(1)}, 0.0, ScalarType::Double, std::nullopt, x.device());
}

void add_channel_sums(const Tensor& g, const Tensor& x, const Tensor& mean, const Tensor& sums) {
  const int64_t channels = x.size(1);
  if (!has_kernels(g, x)) {
    const Tensor value = wide(g), center = by_channel(torch::stable::to(mean, wide_type(x)));
    const auto sum = [&](const Tensor& of) {
      return call_operator<1>("aten::sum", "dim_IntList", of, std::optional(std::vector<int64_t>{0, 2, 3}), false,
                              std::optional<ScalarType>(ScalarType::Double))[0];
    };
    Tensor first = row(sums, 0), second = row(sums, 1);
    torch::stable::copy_(first, plus_scaled(first, sum(value), 1.0));
    torch::stable::copy_(second, plus_scaled(second, sum(product(value, difference(wide(x), center))), 1.0));
    return;
  }
  const Tensor center = like(x, mean);
  const int64_t block = pixel_block(channels), pixels = pixels_of(x);
  // Added up in their order, whichever thread made them.
  std::vector<double> parts(static_cast<size_t>((pixels + block - 1) / block * 2 * channels));
  for_blocks_of(x, pixels, block, [&](const auto& loops, auto zero, int64_t begin, int64_t count) {
    using T = decltype(zero);
    loops.channel_sums(parts.data() + begin / block * 2 * channels, values<T>(g, begin * channels),
                       values<T>(x, begin * channels), values<T>(center), channels, count);
  });
  auto* total = static_cast<double*>(sums.mutable_data_ptr());
  for (size_t i = 0; i < parts.size(); ++i) total[i % static_cast<size_t>(2 * channels)] += parts[i];
}

Tensor norm_input_gradient(const Tensor& g, const Tensor& x, const Tensor& mean, const Tensor& invstd,
                           const Tensor& weight, const Tensor& sums, int64_t count) {
  const Tensor s = doubles(invstd);
  const Tensor scale = weight.defined() ? product(s, doubles(weight)) : s;
  const double per_value = -1.0 / static_cast<double>(count);
  const Tensor slope = scaled(product(product(scale, product(s, s)), row(sums, 1)), per_value);
  const Tensor shift = scaled(product(scale, row(sums, 0)), per_value);
  if (!has_kernels(g, x)) {
    const auto channels = [&](const Tensor& of) { return by_channel(torch::stable::to(of, wide_type(x))); };
    const Tensor linear = product(channels(slope), difference(wide(x), channels(mean)));
    const Tensor all = plus_scaled(plus_scaled(product(wide(g), channels(scale)), linear, 1.0), channels(shift), 1.0);
    return torch::stable::to(all, x.scalar_type());
  }
  const Tensor center = like(x, mean), a = like(x, scale), b = like(x, slope), d = like(x, shift);
  const Tensor out = torch::stable::empty_like(x);
  const int64_t channels = x.size(1);
  for_blocks_of(
      x, pixels_of(x), pixel_block(channels), [&](const auto& loops, auto zero, int64_t begin, int64_t pixels) {
        using T = decltype(zero);
        const int64_t first = begin * channels;
        loops.channel_affine(static_cast<T*>(out.mutable_data_ptr()) + first, values<T>(g, first), values<T>(x, first),
                             values<T>(center), values<T>(a), values<T>(b), values<T>(d), channels, pixels);
      });
  return out;
}

Tensor norm_weight_gradient(const Tensor& invstd, const Tensor& sums, const Tensor& weight) {
  return torch::stable::to(product(row(sums, 1), doubles(invstd)), weight.scalar_type());
}

Tensor norm_bias_gradient(const Tensor& sums, const Tensor& bias) {
  return torch::stable::to(torch::stable::clone(row(sums, 0)), bias.scalar_type());
}

}  // namespace resnet_nodes
