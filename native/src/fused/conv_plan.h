// conv_plan.h: a residual function of convolutions as a chain, and how a batch goes through it in groups of images.
#pragma once

#include <cstdint>
#include <vector>

#include "fused/memory.h"
#include "kernels/conv/conv_kernels.h"
#include "layers/layer.h"

namespace resnet_nodes {

/// A convolution, 1x1 or 3x3, that keeps the image's size, followed by a batch normalization.
struct ConvUnit {
  int64_t in = 0;
  int64_t out = 0;
  int64_t taps = 9;  ///< 1 or 9
  bool operator==(const ConvUnit&) const = default;
};

/// Units with ReLUs between them: conv - batch norm - ReLU - conv - batch norm, or with a ReLU in front, as
/// pre-activation and bottleneck functions have it.
struct ConvChain {
  bool starts_with_relu = false;
  std::vector<ConvUnit> units;
  bool operator==(const ConvChain&) const = default;

  int64_t channels() const { return units.front().in; }
  /// Between two units.
  int64_t most_inner_channels() const;
  /// Whether all numbers of channels are multiples of this one.
  bool fills_blocks_of(int64_t lanes) const;
  /// The number of its first convolution among the function's layers.
  size_t first_layer() const { return starts_with_relu ? 1 : 0; }
};

/// The chain of these layers; without units where they are none. A function's layers without sums follow one another:
/// every output has a reader.
ConvChain conv_chain(const std::vector<LayerSpec>& layers);

/// One of `count` shares of a convolution's output channels.
struct ConvShare {
  int64_t index = 0;
  int64_t count = 1;
};

/// What only the chain, the state's sizes and the type of what is multiplied decide, so that results do not depend on
/// threads.
class ConvPlan {
 public:
  ConvPlan() = default;
  /// `depth`: numbers that are multiplied to a lane at a time, 1 of float32 or 2 of bfloat16.
  ConvPlan(const ConvChain& chain, int64_t images, int64_t height, int64_t width, int64_t depth = 1);
  bool operator==(const ConvPlan&) const = default;

  const ConvChain& chain() const { return chain_; }
  const ConvUnit& unit(size_t i) const { return chain_.units[i]; }
  size_t units() const { return chain_.units.size(); }
  int64_t lanes() const { return lanes_; }
  int64_t image_pixels() const { return height_ * width_; }
  int64_t pixels() const { return images_ * image_pixels(); }
  int64_t most_channels() const { return most_channels_; }

  /// Images that go through the loops together: enough to use each weight often, few enough for the cache.
  int64_t group_images() const { return group_images_; }
  int64_t groups() const { return (images_ + group_images_ - 1) / group_images_; }
  int64_t first_image(int64_t group) const { return group * group_images_; }
  int64_t images_of(int64_t group) const;

  /// Whether weight gradients are summed up by parts of the batch, each with sums of its own; else, where weights are
  /// many, by channels, a span of groups at a time.
  bool sums_by_parts() const { return sums_by_parts_; }
  /// Runs of groups with sums of their own.
  int64_t parts() const { return parts_; }
  int64_t first_group(int64_t part) const { return part * groups() / parts_; }
  /// Groups whose tiles are kept for one weight gradient by channels.
  int64_t span_groups() const { return span_groups_; }

  /// Whether this convolution goes by Winograd's algorithm: F(2x2, 3x3), or in float32 F(4x4, 3x3) where that is
  /// cheaper. On images of one pixel a 3x3 convolution is its middle tap.
  bool is_winograd(size_t unit) const { return chain_.units[unit].taps == 9 && image_pixels() > 1; }
  int64_t positions(size_t unit) const { return is_winograd(unit) ? (tile_ + 2) * (tile_ + 2) : 1; }
  /// Packed weights: the distance of two positions, and all of them, in numbers.
  int64_t packed_position(size_t unit) const;
  int64_t packed_size(size_t unit) const { return positions(unit) * packed_position(unit); }

  /// The convolution of so many images, and that of its input's gradient. `block`: distance of two blocks of channels
  /// where images follow one another without borders; 0: that of a group.
  ConvPass pass(size_t unit, int64_t images, int64_t block = 0) const;
  ConvPass back_pass(size_t unit, int64_t images, int64_t block) const;
  /// Such a pass for a share; returns the first of its output channels.
  int64_t take_share(ConvPass& pass, const ConvShare& share) const;
  /// Any tensor of so many channels, dense.
  ConvShape dense(int64_t channels, int64_t images) const;
  /// Numbers of one blocked tensor of a group, of the unit's input or output, whichever is larger.
  int64_t blocked_size(size_t unit) const;
  /// Floats that a convolution works in.
  int64_t scratch_size(size_t unit) const;
  /// So many tiles of a unit's input or output.
  TileShape tile_shape(int64_t channels, int64_t tiles) const;
  /// Of so many images.
  TileCounts tiles_of(size_t unit, int64_t images) const;
  /// So many numbers take the room of this many floats.
  int64_t floats_of(int64_t numbers) const { return (numbers + depth_ - 1) / depth_; }
  /// So many tiles of a weight gradient take the room of this many: pairs of them are whole.
  int64_t room_of(int64_t tiles) const { return (tiles + depth_ - 1) / depth_ * depth_; }

 private:
  int64_t odd(int64_t numbers) const { return odd_lines(numbers, depth_ * kLine); }
  ConvShape blocked(int64_t channels, int64_t images, bool bordered, int64_t block) const;
  ConvPass pass_of(size_t unit, int64_t in, int64_t out, int64_t images, int64_t block) const;

  ConvChain chain_;
  int64_t images_ = 0, height_ = 0, width_ = 0;
  int64_t depth_ = 1, lanes_ = 8, tile_ = 2, most_channels_ = 0;
  TileGrid grid_;
  int64_t group_images_ = 1, parts_ = 1, span_groups_ = 1;
  bool sums_by_parts_ = true;
};

}  // namespace resnet_nodes
