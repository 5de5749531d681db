// channels.h: what the product of a batch normalization does to images of which only some are at hand: two sums a
// channel over all of them, then one pass over each part. By a kernel on the CPU, by operators elsewhere.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <vector>

namespace resnet_nodes {

using torch::stable::Tensor;

/// Of some values of each channel: how many a channel has, their means, and the sums of their squared distances from
/// those.
struct ChannelMoments {
  int64_t values = 0;
  std::vector<double> mean;
  std::vector<double> squares;
};

/// Of x: [B, C, H, W], B C H W > 0.
ChannelMoments channel_moments(const Tensor& x);
/// Numbers of the channels as a tensor of the CPU: [C].
Tensor channel_tensor(const std::vector<double>& numbers, torch::headeronly::ScalarType type);

/// Adds to `sums` [2, C], float64, the sums over these images of g and of g (x - mean). g, x: [B, C, H, W].
void add_channel_sums(const Tensor& g, const Tensor& x, const Tensor& mean, const Tensor& sums);
/// The zeros that they are added to, on x's device.
Tensor new_channel_sums(const Tensor& x);

/// The gradient of the input x of a normalization with weight w (undefined: 1) that has used the batch's own
/// statistics, on some of the images: w s (g - S_1 / M - (x - mean) s^2 S_2 / M), where s is the inverse standard
/// deviation, and S are the sums over all M values of a channel.
Tensor norm_input_gradient(const Tensor& g, const Tensor& x, const Tensor& mean, const Tensor& invstd,
                           const Tensor& weight, const Tensor& sums, int64_t values);
/// The gradients of weight and bias from the same sums: S_2 s and S_1, of the type of `like`.
Tensor norm_weight_gradient(const Tensor& invstd, const Tensor& sums, const Tensor& like);
Tensor norm_bias_gradient(const Tensor& sums, const Tensor& like);

}  // namespace resnet_nodes
