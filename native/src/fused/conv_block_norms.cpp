// conv_block_norms.cpp: the batch normalizations of a fused function, as affine maps of each channel.
#include <algorithm>
#include <cmath>
#include <mutex>
#include <shared_mutex>
#include <utility>

#include "fused/conv_block.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

// Where coefficients lie in the workspace: first what is needed for one normalization at a time, then those of each.
constexpr size_t kByGradient = 0, kByValue = 1, kConstant = 2, kStepScale = 3, kStepShift = 4, kFirst = 5, kOfNorm = 4;

constexpr float kOne = 1, kZero = 0;

}  // namespace

template <typename Number>
bool ConvBlock<Number>::uses_batch(size_t unit) const {
  return call_.units[unit].norm.training || !call_.units[unit].norm_spec.track_statistics;
}

template <typename Number>
typename ConvBlock<Number>::Numbers ConvBlock<Number>::gamma(size_t unit) const {
  const ConvBlockCall::Unit& own = call_.units[unit];
  return own.norm_spec.affine ? Numbers(own.norm.parameters[0]) : Numbers(kOne);
}

template <typename Number>
float ConvBlock<Number>::invstd(double variance, size_t unit) const {
  return static_cast<float>(1 / std::sqrt(variance + call_.units[unit].norm_spec.epsilon));
}

template <typename Number>
typename ConvBlock<Number>::Norm ConvBlock<Number>::norm(size_t unit) const {
  const size_t first = kFirst + unit * kOfNorm;
  return {workspace_.coefficients(first), workspace_.coefficients(first + 1), workspace_.coefficients(first + 2),
          workspace_.coefficients(first + 3)};
}

template <typename Number>
void ConvBlock<Number>::bind(size_t unit, const Norm& norm) const {
  const ConvBlockCall::Unit& own = call_.units[unit];
  const Numbers weight = gamma(unit);
  const Numbers bias = own.norm_spec.affine ? Numbers(own.norm.parameters[1]) : Numbers(kZero);
  for (int64_t c = 0; c < channels(unit); ++c) {
    norm.scale[c] = weight[c] * norm.invstd[c];
    norm.shift[c] = bias[c] - norm.mean[c] * norm.scale[c];
  }
}

// With the forward pass's statistics.
template <typename Number>
void ConvBlock<Number>::load_norm(size_t unit) const {
  const Norm norm = this->norm(unit);
  const LayerCall& call = call_.units[unit].norm;
  const bool batch = uses_batch(unit);
  std::shared_lock<std::shared_mutex> lock;
  if (!batch) lock = std::shared_lock(*call.lock);
  const Numbers mean(batch ? call.statistics->mean : call.buffers[0]);
  const Numbers spread(batch ? call.statistics->invstd : call.buffers[1]);
  for (int64_t c = 0; c < channels(unit); ++c) {
    norm.mean[c] = mean[c];
    norm.invstd[c] = batch ? spread[c] : invstd(static_cast<double>(spread[c]), unit);
  }
  bind(unit, norm);
}

// From the groups' means and sums of squared distances from them to the batch's, without the cancellation of sums of
// squares.
template <typename Number>
void ConvBlock<Number>::batch_norm(size_t unit) {
  const ConvPlan& plan = workspace_.plan();
  const LayerSpec& spec = call_.units[unit].norm_spec;
  const LayerCall& call = call_.units[unit].norm;
  const Norm norm = this->norm(unit);
  const int64_t channels = this->channels(unit);
  auto count = static_cast<double>(plan.pixels());
  std::vector<double> mean(static_cast<size_t>(channels)), squares(mean);
  const auto for_sums = [&](const auto& body) {
    const float* sums = workspace_.sums();
    for (int64_t group = 0; group < plan.groups(); ++group, sums += 2 * channels) {
      body(sums, static_cast<double>(plan.images_of(group) * plan.image_pixels()));
    }
  };
  for_sums([&](const float* sums, double pixels) {
    for (size_t c = 0; c < mean.size(); ++c) mean[c] += pixels / count * static_cast<double>(sums[c]);
  });
  for_sums([&](const float* sums, double pixels) {
    for (size_t c = 0; c < mean.size(); ++c) {
      const double off = static_cast<double>(sums[c]) - mean[c];
      squares[c] += static_cast<double>(sums[mean.size() + c]) + pixels * off * off;
    }
  });
  if (call.ranks != nullptr) {
    ChannelMoments all = call.ranks->of_all({plan.pixels(), std::move(mean), std::move(squares)});
    count = static_cast<double>(all.values);
    mean = std::move(all.mean);
    squares = std::move(all.squares);
  }
  for (size_t c = 0; c < mean.size(); ++c) {
    norm.mean[c] = static_cast<float>(mean[c]);
    norm.invstd[c] = invstd(squares[c] / count, unit);
  }
  if (call.statistics != nullptr) {
    *call.statistics = {torch::stable::empty({channels}, ScalarType::Float),
                        torch::stable::empty({channels}, ScalarType::Float),
                        call.ranks != nullptr ? static_cast<int64_t>(count) : 0};
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
  bind(unit, norm);
}

// scale and shift of a f(x) = a (scale value + shift).
template <typename Number>
typename ConvBlock<Number>::Norm ConvBlock<Number>::scaled(size_t unit, double a) const {
  const Norm norm = this->norm(unit);
  const Norm step{norm.mean, norm.invstd, workspace_.coefficients(kStepScale), workspace_.coefficients(kStepShift)};
  for (int64_t c = 0; c < channels(unit); ++c) {
    step.scale[c] = static_cast<float>(a) * norm.scale[c];
    step.shift[c] = static_cast<float>(a) * norm.shift[c];
  }
  return step;
}

// From the groups' sums of g and g (x - mean): the normalization's own gradients, and the coefficients of
// by_g g + by_x (x - mean) + constant, the gradient of its input where its output's is a g. The former are those of
// this rank's images; the latter take the sums of all that have shared the statistics.
template <typename Number>
typename ConvBlock<Number>::NormGradient ConvBlock<Number>::norm_gradient(size_t unit, double a, const float* sums) {
  const int64_t channels = this->channels(unit);
  const Norm norm = this->norm(unit);
  const LayerCall& call = call_.units[unit].norm;
  const NormGradient result{workspace_.coefficients(kByGradient), workspace_.coefficients(kByValue),
                            workspace_.coefficients(kConstant)};
  const bool batch = uses_batch(unit);
  auto count = static_cast<double>(workspace_.plan().pixels());
  std::vector<double> sum(static_cast<size_t>(channels)), product(sum);
  for (int64_t group = 0; group < workspace_.plan().groups(); ++group, sums += 2 * channels) {
    add_to(sum, sums);
    add_to(product, sums + channels);
  }
  std::vector<double> of_all(sum);
  of_all.insert(of_all.end(), product.begin(), product.end());
  const bool shared = batch && call.ranks != nullptr;
  if (shared) {
    count = static_cast<double>(call.statistics->values);
    // Of a g, as a rank has them that goes by operators.
    for (double& number : of_all) number *= a;
    call.ranks->add_up(of_all.data(), 2 * channels);
  }
  const Numbers scale = gamma(unit);
  for (size_t c = 0; c < sum.size(); ++c) {
    const auto inverse = static_cast<double>(norm.invstd[c]);
    const auto weight = static_cast<double>(scale[static_cast<int64_t>(c)]);
    const double by_g = a * inverse * weight, by_sums = shared ? inverse * weight : by_g;
    result.by_g[c] = static_cast<float>(by_g);
    result.by_x[c] = batch ? static_cast<float>(-by_sums * inverse * inverse * of_all[sum.size() + c] / count) : 0.0f;
    result.constant[c] = batch ? static_cast<float>(-by_sums * of_all[c] / count) : 0.0f;
    product[c] *= a * inverse;
    sum[c] *= a;
  }
  put(call_.units[unit].norm_weight, product);
  put(call_.units[unit].norm_bias, sum);
  return result;
}

template class ConvBlock<float>;
template class ConvBlock<BFloat16>;

}  // namespace resnet_nodes
