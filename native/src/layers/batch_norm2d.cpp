// batch_norm2d.cpp: batch normalization whose statistics are those of the one forward pass (docs/reconstructions.md).
#include <torch/csrc/stable/ops.h>

#include <cmath>
#include <mutex>
#include <optional>
#include <vector>

#include "layers/layer.h"
#include "resnet_nodes/error.h"
#include "tensors/describe.h"

namespace resnet_nodes {
namespace {

class BatchNorm2d final : public Layer {
 public:
  using Layer::Layer;

  int64_t parameter_count() const override { return spec().affine ? 2 : 0; }
  int64_t buffer_count() const override { return spec().track_statistics ? 2 : 0; }
  bool has_statistics() const override { return true; }
  bool output_is_fresh() const override { return true; }

  std::vector<int64_t> parameter_sizes(int64_t) const override { return {spec().in_features}; }

  void check_input(const Tensor& x, const std::string& where) const override {
    if (x.dim() != 4 || x.size(1) != spec().in_features) {
      throw Error(where + " (batch_norm2d): input is " + shape_text(x) + ", expected [B, " +
                  std::to_string(spec().in_features) + ", H, W]");
    }
  }

  Reads reads() const override { return Reads::input; }

  Tensor forward(const Tensor& x, const LayerCall& call) const override {
    const bool batch = uses_batch(call);
    if (batch && call.ranks != nullptr) return synchronized(x, call);
    if (batch && x.size(0) * x.size(2) * x.size(3) < 2) {
      throw Error("batch_norm2d: input is " + shape_text(x) +
                  ", expected more than one value a channel for training statistics");
    }
    // Passes of several threads may share the running statistics. The operator changes them as it goes.
    std::unique_lock<std::shared_mutex> alone;
    std::shared_lock<std::shared_mutex> shared;
    if (batch && spec().track_statistics) {
      alone = std::unique_lock(*call.lock);
    } else if (spec().track_statistics) {
      shared = std::shared_lock(*call.lock);
    }
    GradientTriple result = batch_norm(x, weight(call, x), bias(call), running(call, 0), running(call, 1), batch,
                                       spec().momentum, spec().epsilon);
    if (batch && call.statistics != nullptr) *call.statistics = {result[1], result[2], 0};
    return result[0];
  }

  std::optional<KnownNorm> known_norm(const LayerCall& call) const override {
    if (!uses_batch(call) || call.statistics == nullptr) return std::nullopt;
    return KnownNorm{call.statistics->mean, call.statistics->invstd, spec().affine ? call.parameters[0] : Tensor(),
                     bias(call)};
  }

  Tensor replay(const Tensor& x, const LayerCall& call) const override {
    if (!uses_batch(call)) return forward(x, call);
    // With the saved statistics instead of running ones the normalization is an affine map: no reduction.
    return batch_norm(x, weight(call, x), bias(call), call.statistics->mean, inverse_square(call.statistics->invstd),
                      false, 0.0, 0.0)[0];
  }

  GradientTriple vjp(const Tensor& grad, const Tensor& x, const LayerCall& call,
                     const GradientMask& mask) const override {
    const bool batch = uses_batch(call);
    const Statistics none;
    const Statistics& statistics = batch ? *call.statistics : none;
    return batch_norm_backward(grad, x, weight(call, x), running(call, 0), running(call, 1), statistics.mean,
                               statistics.invstd, batch, spec().epsilon, mask);
  }

 private:
  // By the values of all ranks; normalized as a replay does it.
  Tensor synchronized(const Tensor& x, const LayerCall& call) const {
    const ChannelMoments all = call.ranks->of_all(channel_moments(x));
    const auto count = static_cast<double>(all.values);
    std::vector<double> invstd(all.squares);
    for (double& value : invstd) value = 1 / std::sqrt(value / count + spec().epsilon);
    if (spec().track_statistics) {
      const std::lock_guard<std::shared_mutex> lock(*call.lock);
      move_running(call.buffers[0], all.mean, 1);
      move_running(call.buffers[1], all.squares, 1 / (count - 1));
    }
    const auto type = statistics_type(call, x);
    Statistics statistics{channel_tensor(all.mean, type), channel_tensor(invstd, type), all.values};
    LayerCall known = call;
    known.statistics = &statistics;
    const Tensor result = replay(x, known);
    if (call.statistics != nullptr) *call.statistics = statistics;
    return result;
  }

  void move_running(Tensor running, const std::vector<double>& values, double factor) const {
    using torch::headeronly::ScalarType;
    const Tensor kept = scaled(torch::stable::to(running, ScalarType::Double), 1 - spec().momentum);
    torch::stable::copy_(running,
                         plus_scaled(kept, channel_tensor(values, ScalarType::Double), spec().momentum * factor));
  }

  // That of weights or running statistics, as the operator has it.
  torch::headeronly::ScalarType statistics_type(const LayerCall& call, const Tensor& x) const {
    if (const Tensor own = weight(call, x); own.defined()) return own.scalar_type();
    return spec().track_statistics ? running(call, 0).scalar_type() : x.scalar_type();
  }

  // Without running statistics there are only those of the batch, in evaluation too.
  bool uses_batch(const LayerCall& call) const { return call.training || !spec().track_statistics; }
  Tensor weight(const LayerCall& call, const Tensor& x) const {
    using torch::headeronly::ScalarType;
    if (spec().affine) return call.parameters[0];
    const ScalarType type = x.scalar_type();
    if (spec().track_statistics || (type != ScalarType::BFloat16 && type != ScalarType::Half)) return Tensor();
    // The statistics' type is that of weights or running statistics; with neither they would be rounded to x's.
    return torch::stable::full({spec().in_features}, 1.0, ScalarType::Float, std::nullopt, x.device());
  }
  Tensor bias(const LayerCall& call) const { return spec().affine ? call.parameters[1] : Tensor(); }
  Tensor running(const LayerCall& call, int index) const {
    return spec().track_statistics ? call.buffers[index] : Tensor();
  }
};

}  // namespace

std::unique_ptr<Layer> make_batch_norm2d(const LayerSpec& spec, const std::string& where) {
  check_at_least(spec.in_features, 1, "in_features", where);
  if (!(spec.epsilon > 0)) throw Error(where + ": epsilon is " + std::to_string(spec.epsilon) + ", expected above 0");
  if (!(spec.momentum >= 0 && spec.momentum <= 1)) {
    throw Error(where + ": momentum is " + std::to_string(spec.momentum) + ", expected 0 to 1");
  }
  return std::make_unique<BatchNorm2d>(spec);
}

}  // namespace resnet_nodes
