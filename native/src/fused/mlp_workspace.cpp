#include "fused/mlp_workspace.h"

#include <algorithm>
#include <cstring>

namespace resnet_nodes {
namespace {

// Rows that go through all loops together: few enough for the second-level cache, many enough that sums, which are read
// and written once a block, cost little. A multiple of the rows that every kernel path takes at a time.
constexpr int64_t kMostRows = 48, kLeastRows = 12;
constexpr int64_t kBlockFloats = 1 << 15;
// Parts that gradients are summed up in, at least: as many threads have work.
constexpr int64_t kLeastParts = 8;
// Sums that one thread adds up at a time.
constexpr int64_t kGrain = 1 << 14;

// A weight's strides along the hidden numbers and along a row.
struct WeightStrides {
  int64_t hidden, width;
  WeightStrides(const Tensor& weight, size_t layer)
      : hidden(weight.stride(layer == 0 ? 0 : 1)), width(weight.stride(layer == 0 ? 1 : 0)) {}
};

// Where the sum of a row's element stands: the last register of a row ends with it, and its sums lie behind those of
// the register before.
struct SumPlaces {
  int64_t whole, shift;
  SumPlaces(int64_t width, int64_t lanes) : whole((width - 1) / lanes * lanes), shift(whole + lanes - width) {}
  int64_t operator[](int64_t element) const { return element < whole ? element : element + shift; }
};

}  // namespace

void MlpWorkspace::prepare(int64_t width, int64_t hidden, int64_t rows, const MlpKernels& loops) {
  workers_.resize();
  loops_ = &loops;
  if (width == shape_.width && hidden == shape_.hidden && rows == rows_) return;
  shape_.width = width;
  shape_.hidden = hidden;
  shape_.columns = (hidden + 3) / 4 * 4;
  shape_.pitch = odd_lines(width);
  rows_ = rows;
  block_ = std::clamp(kBlockFloats / width / kLeastRows * kLeastRows, kLeastRows, kMostRows);
  parts_ = kMostParts;
  while (parts_ > kLeastParts && parts_ * part_size() > kMostSums) parts_ /= 2;
  parts_ = std::min(parts_, blocks());
  packed_key_ = PackedKey();
}

const MlpWorkspace::Packed& MlpWorkspace::packed(const PackedKey& key, const MlpParameters& parameters) {
  if (key == packed_key_) return packed_;
  packed_key_ = key;
  for (size_t layer = 0; layer < 2; ++layer) {
    const Tensor &weight = parameters.weight[layer], &bias = parameters.bias[layer];
    const WeightStrides strides(weight, layer);
    float* to = packed_.weights[layer].resize(shape_.columns * shape_.pitch);
    for (int64_t c = 0; c < shape_.hidden; ++c, to += shape_.pitch) {
      const float* from = data(weight) + c * strides.hidden;
      for (int64_t i = 0; i < shape_.width; ++i) to[i] = from[i * strides.width];
    }
    packed_.has_bias[layer] = bias.defined();
    if (!bias.defined()) continue;
    float* numbers = packed_.biases[layer].resize(layer == 0 ? shape_.columns : shape_.pitch);
    for (int64_t i = 0; i < bias.size(0); ++i) numbers[i] = data(bias)[i * bias.stride(0)];
  }
  return packed_;
}

void MlpWorkspace::start_sums(int64_t part) {
  std::memset(weight_sums(part, 0), 0, static_cast<size_t>(part_size()) * sizeof(float));
}

void MlpWorkspace::weight_gradient(size_t layer, const Tensor& gradient, double a, bool add) {
  const auto factor = static_cast<float>(a);
  const WeightStrides strides(gradient, layer);
  const SumPlaces places(shape_.width, loops_->lanes);
  const int64_t columns = std::max<int64_t>(1, kGrain / (parts_ * shape_.width));
  torch::stable::parallel_for(0, shape_.hidden, columns, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      float* total = weight_sums(0, layer) + c * shape_.pitch;
      for (int64_t part = 1; part < parts_; ++part) {
        const float* sums = weight_sums(part, layer) + c * shape_.pitch;
        for (int64_t i = 0; i < shape_.pitch; ++i) total[i] += sums[i];
      }
      float* to = target(gradient) + c * strides.hidden;
      for (int64_t i = 0; i < shape_.width; ++i) {
        float& element = to[i * strides.width];
        const float value = factor * total[places[i]];
        element = add ? element + value : value;
      }
    }
  });
}

void MlpWorkspace::bias_gradient(size_t layer, const Tensor& gradient, double a, bool add) {
  const SumPlaces places(shape_.width, loops_->lanes);
  float* to = target(gradient);
  for (int64_t i = 0; i < gradient.size(0); ++i) {
    double total = 0;
    for (int64_t part = 0; part < parts_; ++part) {
      total += static_cast<double>(bias_sums(part, layer)[layer == 0 ? i : places[i]]);
    }
    float& element = to[i * gradient.stride(0)];
    element = static_cast<float>(add ? static_cast<double>(element) + a * total : a * total);
  }
}

}  // namespace resnet_nodes
