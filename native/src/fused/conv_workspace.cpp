#include "fused/conv_workspace.h"

#include <algorithm>
#include <cstring>

namespace resnet_nodes {
namespace {

// Tiles that a convolution transforms together, at least one row: enough to use weights often, few enough for the
// cache.
constexpr int64_t kBandTiles = 32;
constexpr size_t kCoefficients = 13;
// Weights that one thread reorders at a time.
constexpr int64_t kGrain = 8192;
constexpr int64_t kMostLanes = 16;

bool same_shape(const ConvShape& a, const ConvShape& b) {
  return a.height == b.height && a.width == b.width && a.channels == b.channels;
}

// A weight tensor's element [out][in][tap], in any layout.
struct WeightStrides {
  int64_t out, in, row, column;
  explicit WeightStrides(const Tensor& weight)
      : out(weight.stride(0)), in(weight.stride(1)), row(weight.stride(2)), column(weight.stride(3)) {}
  int64_t tap(int64_t tap) const { return tap / 3 * row + tap % 3 * column; }
};

// body(index, out, in) for each square of lanes x lanes weights, in the order of the packed weights.
template <typename Body>
void for_squares(const ConvShape& image, const Body& body) {
  const int64_t square = 9 * image.lanes * image.lanes, blocks = image.blocks;
  torch::stable::parallel_for(0, blocks * blocks, (kGrain + square - 1) / square, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) body(i, i / blocks * image.lanes, i % blocks * image.lanes);
  });
}

}  // namespace

ConvShape image_shape(int64_t channels, int64_t height, int64_t width) {
  ConvShape image;
  image.height = height;
  image.width = width;
  image.channels = channels;
  image.lanes = channels % 16 == 0 ? 16 : 8;
  image.blocks = channels / image.lanes;
  image.tile_rows = (height + 1) / 2;
  image.tile_columns = (width + 1) / 2;
  image.row = (2 * image.tile_columns + 2) * image.lanes;
  image.plane = (2 * image.tile_rows + 2) * image.row;
  image.band_rows = std::clamp<int64_t>(kBandTiles / image.tile_columns, 1, image.tile_rows);
  image.position = odd_lines(image.channels * image.band_rows * image.tile_columns);
  return image;
}

int64_t dense_size(const ConvShape& image) { return image.height * image.width * image.channels; }
int64_t bordered_size(const ConvShape& image) { return image.blocks * image.plane; }
int64_t weight_size(const ConvShape& image) { return 9 * image.channels * image.channels; }
int64_t transformed_weight_size(const ConvShape& image) { return 16 * image.channels * image.channels; }
int64_t scratch_size(const ConvShape& image) { return 2 * 16 * image.position; }

void ConvWorkspace::prepare(const ConvShape& image, int64_t batch, const KernelPath& path) {
  kernels_ = image.lanes == 16 ? &path.conv16 : &path.conv8;
  const bool same_image = same_shape(image, image_);
  // Another image has its border elsewhere: its slots start from zeros.
  if (!same_image) workers_.clear();
  workers_.resize();
  if (same_image && batch == batch_) return;
  image_ = image;
  batch_ = batch;
  parts_ = kMostParts;
  while (parts_ > 4 && parts_ * weight_size(image) > kMostSums) parts_ /= 2;
  parts_ = std::min(parts_, batch);
  packed_key_ = PackedKey();
  image_sums_.resize(batch * 2 * image.channels);
  coefficients_.resize(static_cast<int64_t>(kCoefficients) * image.channels);
  weight_sums_.resize(parts_ * weight_size(image));
  bias_sums_.resize(parts_ * image.channels);
}

void ConvWorkspace::prepare(Slot& slot) const {
  slot.input.resize(bordered_size(image_));
  slot.gradient.resize(bordered_size(image_));
  slot.inner.resize(dense_size(image_));
  slot.outer.resize(dense_size(image_));
  slot.scratch.resize(scratch_size(image_));
}

const float* ConvWorkspace::packed(const PackedKey& key, size_t convolution, bool transposed, const Tensor& weight) {
  if (!(key == packed_key_)) {
    packed_key_ = key;
    packed_ready_.fill(false);
  }
  const size_t index = 2 * convolution + (transposed ? 1 : 0);
  float* target = packed_[index].resize(transformed_weight_size(image_));
  if (packed_ready_[index]) return target;
  const auto* source = static_cast<const float*>(weight.const_data_ptr());
  const WeightStrides strides(weight);
  // The input gradient is a convolution with the taps mirrored, and inputs and outputs exchanged.
  const int64_t by_out = transposed ? strides.in : strides.out, by_in = transposed ? strides.out : strides.in;
  const int64_t lanes = image_.lanes, square = lanes * lanes;
  for_squares(image_, [&](int64_t index, int64_t out, int64_t in) {
    float taps[9 * kMostLanes * kMostLanes];
    for (int64_t tap = 0; tap < 9; ++tap) {
      const float* from = source + out * by_out + in * by_in + strides.tap(transposed ? 8 - tap : tap);
      for (int64_t i = 0; i < lanes; ++i) {
        for (int64_t o = 0; o < lanes; ++o) taps[tap * square + i * lanes + o] = from[i * by_in + o * by_out];
      }
    }
    kernels_->transform_weights(target + index * square, taps, square, image_);
  });
  packed_ready_[index] = true;
  return target;
}

void ConvWorkspace::start_sums(int64_t part, bool weights, Slot& slot) {
  std::memset(bias_sums(part), 0, static_cast<size_t>(image_.channels) * sizeof(float));
  if (!weights) return;
  std::memset(slot.weight_sums.resize(transformed_weight_size(image_)), 0,
              static_cast<size_t>(transformed_weight_size(image_)) * sizeof(float));
}

// [square][tap][in][out].
void ConvWorkspace::finish_sums(int64_t part, Slot& slot) {
  const int64_t square = image_.lanes * image_.lanes;
  for (int64_t index = 0; index < image_.blocks * image_.blocks; ++index) {
    kernels_->transform_sums(weight_sums(part) + index * 9 * square, square, slot.weight_sums.data() + index * square,
                             image_);
  }
}

void ConvWorkspace::weight_gradient(const Tensor& gradient, bool add) {
  auto* target = static_cast<float*>(gradient.mutable_data_ptr());
  const WeightStrides strides(gradient);
  const int64_t lanes = image_.lanes, square = lanes * lanes;
  for_squares(image_, [&](int64_t index, int64_t out, int64_t in) {
    for (int64_t tap = 0; tap < 9; ++tap) {
      float total[kMostLanes * kMostLanes] = {};
      for (int64_t part = 0; part < parts_; ++part) {
        const float* sums = weight_sums(part) + (index * 9 + tap) * square;
        for (int64_t i = 0; i < square; ++i) total[i] += sums[i];
      }
      float* to = target + out * strides.out + in * strides.in + strides.tap(tap);
      for (int64_t i = 0; i < lanes; ++i) {
        for (int64_t o = 0; o < lanes; ++o) {
          float& element = to[i * strides.in + o * strides.out];
          const float value = total[i * lanes + o];
          element = add ? element + value : value;
        }
      }
    }
  });
}

void ConvWorkspace::bias_gradient(const Tensor& gradient, bool add) {
  auto* target = static_cast<float*>(gradient.mutable_data_ptr());
  for (int64_t c = 0; c < image_.channels; ++c) {
    double total = 0;
    for (int64_t part = 0; part < parts_; ++part) total += static_cast<double>(bias_sums(part)[c]);
    float& element = target[c * gradient.stride(0)];
    element = add ? element + static_cast<float>(total) : static_cast<float>(total);
  }
}

}  // namespace resnet_nodes
