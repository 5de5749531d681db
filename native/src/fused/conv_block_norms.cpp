// conv_block_norms.cpp: the batch normalizations of a fused function, as affine maps of each channel.
#include <algorithm>
#include <cmath>
#include <mutex>
#include <shared_mutex>

#include "fused/conv_block.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

// Where each normalization's coefficients lie in the workspace, and what else does.
constexpr size_t kOfNorm = 4, kByGradient = 8, kByValue = 9, kConstant = 10, kStepScale = 11, kStepShift = 12;

// total += values, one for each channel.
void add_to(std::vector<double>& total, const float* values) {
  for (size_t c = 0; c < total.size(); ++c) total[c] += static_cast<double>(values[c]);
}

// To a vector's gradient, or in its place.
void put(const GradientTarget& to, const std::vector<double>& values) {
  if (!to.gradient.defined()) return;
  float* element = target(to.gradient);
  const int64_t stride = to.gradient.stride(0);
  for (size_t c = 0; c < values.size(); ++c, element += stride) {
    *element = static_cast<float>(to.add ? static_cast<double>(*element) + values[c] : values[c]);
  }
}

constexpr float kOne = 1, kZero = 0;

}  // namespace

bool ConvBlock::uses_batch(size_t index) const {
  return call_.norm[index].training || !call_.norm_spec[index].track_statistics;
}

ConvBlock::Numbers ConvBlock::gamma(size_t index) const {
  return call_.norm_spec[index].affine ? Numbers(call_.norm[index].parameters[0]) : Numbers(kOne);
}

float ConvBlock::invstd(double variance, size_t index) const {
  return static_cast<float>(1 / std::sqrt(variance + call_.norm_spec[index].epsilon));
}

ConvBlock::Norm ConvBlock::place_of(size_t index) const {
  const size_t first = index * kOfNorm;
  return {workspace_.coefficients(first), workspace_.coefficients(first + 1), workspace_.coefficients(first + 2),
          workspace_.coefficients(first + 3)};
}

void ConvBlock::bind(size_t index, const Norm& norm) const {
  const Numbers weight = gamma(index);
  const Numbers bias = call_.norm_spec[index].affine ? Numbers(call_.norm[index].parameters[1]) : Numbers(kZero);
  for (int64_t c = 0; c < workspace_.image().channels; ++c) {
    norm.scale[c] = weight[c] * norm.invstd[c];
    norm.shift[c] = bias[c] - norm.mean[c] * norm.scale[c];
  }
}

ConvBlock::Norm ConvBlock::saved_norm(size_t index) const {
  const Norm norm = place_of(index);
  const LayerCall& call = call_.norm[index];
  const bool batch = uses_batch(index);
  std::shared_lock<std::shared_mutex> lock;
  if (!batch) lock = std::shared_lock(*call.lock);
  const Numbers mean(batch ? call.statistics->mean : call.buffers[0]);
  const Numbers spread(batch ? call.statistics->invstd : call.buffers[1]);
  for (int64_t c = 0; c < workspace_.image().channels; ++c) {
    norm.mean[c] = mean[c];
    norm.invstd[c] = batch ? spread[c] : invstd(static_cast<double>(spread[c]), index);
  }
  bind(index, norm);
  return norm;
}

// From the images' means and sums of squared distances from them to the batch's, without the cancellation of sums of
// squares.
ConvBlock::Norm ConvBlock::batch_norm(size_t index) {
  const ConvShape& image = workspace_.image();
  const LayerSpec& spec = call_.norm_spec[index];
  const LayerCall& call = call_.norm[index];
  const Norm norm = place_of(index);
  const int64_t images = workspace_.batch(), channels = image.channels;
  const auto pixels = static_cast<double>(image.height * image.width), count = pixels * static_cast<double>(images);
  std::vector<double> mean(static_cast<size_t>(channels)), squares(mean);
  for (int64_t i = 0; i < images; ++i) add_to(mean, workspace_.image_sums(i));
  for (double& value : mean) value /= static_cast<double>(images);
  for (int64_t i = 0; i < images; ++i) {
    const float* sums = workspace_.image_sums(i);
    for (size_t c = 0; c < mean.size(); ++c) {
      const double off = static_cast<double>(sums[c]) - mean[c];
      squares[c] += static_cast<double>(sums[mean.size() + c]) + pixels * off * off;
    }
  }
  for (size_t c = 0; c < mean.size(); ++c) {
    norm.mean[c] = static_cast<float>(mean[c]);
    norm.invstd[c] = invstd(squares[c] / count, index);
  }
  if (call.statistics != nullptr) {
    *call.statistics = {torch::stable::empty({channels}, ScalarType::Float),
                        torch::stable::empty({channels}, ScalarType::Float)};
    std::copy_n(norm.mean, channels, target(call.statistics->mean));
    std::copy_n(norm.invstd, channels, target(call.statistics->invstd));
  }
  if (spec.track_statistics) {
    const std::lock_guard<std::shared_mutex> lock(*call.lock);
    const auto move = [&](const Tensor& running, const std::vector<double>& values, double factor) {
      float* element = target(running);
      const int64_t stride = running.stride(0);
      for (size_t c = 0; c < values.size(); ++c, element += stride) {
        const double kept = (1 - spec.momentum) * static_cast<double>(*element);
        *element = static_cast<float>(spec.momentum * factor * values[c] + kept);
      }
    };
    move(call.buffers[0], mean, 1);
    move(call.buffers[1], squares, 1 / (count - 1));
  }
  bind(index, norm);
  return norm;
}

// scale and shift of a f(x) = a (scale outer + shift).
ConvBlock::Norm ConvBlock::scaled(const Norm& norm, double a) const {
  const Norm step{norm.mean, norm.invstd, workspace_.coefficients(kStepScale), workspace_.coefficients(kStepShift)};
  for (int64_t c = 0; c < workspace_.image().channels; ++c) {
    step.scale[c] = static_cast<float>(a) * norm.scale[c];
    step.shift[c] = static_cast<float>(a) * norm.shift[c];
  }
  return step;
}

// From the images' sums of g and g (x - mean): the normalization's own gradients, and the coefficients of
// by_g g + by_x (x - mean) + constant, the gradient of its input where its output's is a g.
ConvBlock::NormGradient ConvBlock::norm_gradient(size_t index, const Norm& norm, double a, const float* sums) {
  const int64_t channels = workspace_.image().channels, images = workspace_.batch();
  const auto count = static_cast<double>(images * workspace_.image().height * workspace_.image().width);
  const NormGradient result{workspace_.coefficients(kByGradient), workspace_.coefficients(kByValue),
                            workspace_.coefficients(kConstant)};
  const bool batch = uses_batch(index);
  std::vector<double> sum(static_cast<size_t>(channels)), product(sum);
  for (int64_t i = 0; i < images; ++i, sums += 2 * channels) {
    add_to(sum, sums);
    add_to(product, sums + channels);
  }
  const Numbers scale = gamma(index);
  for (size_t c = 0; c < sum.size(); ++c) {
    const auto inverse = static_cast<double>(norm.invstd[c]);
    const double by_g = a * inverse * static_cast<double>(scale[static_cast<int64_t>(c)]);
    result.by_g[c] = static_cast<float>(by_g);
    result.by_x[c] = batch ? static_cast<float>(-by_g * inverse * inverse * product[c] / count) : 0.0f;
    result.constant[c] = batch ? static_cast<float>(-by_g * sum[c] / count) : 0.0f;
    product[c] *= a * inverse;
    sum[c] *= a;
  }
  put(call_.targets[4 * index + 2], product);
  put(call_.targets[4 * index + 3], sum);
  return result;
}

}  // namespace resnet_nodes
