#include "fused/conv_plan.h"

#include <algorithm>

namespace resnet_nodes {
namespace {

// Pixels of a group, at least one image: more of fewer channels, where enough groups are left for all threads.
constexpr int64_t kLeastGroupPixels = 128, kMostGroupPixels = 512;
constexpr int64_t kGroupNumbers = int64_t{1} << 15;
constexpr int64_t kEnoughGroups = 16;
// Tiles that Winograd's algorithm transforms together, at least one row.
constexpr int64_t kBandTiles = 32;
// Bytes of the inputs that a 1x1 convolution multiplies by all weights before it takes the next: half of the
// second-level cache.
constexpr int64_t kBandBytes = int64_t{1} << 18;
// Weights of one convolution beyond which sums for each part of a batch cost more than they spare.
constexpr int64_t kMostWeightsOfParts = 9 * 128 * 128;
// Pixels of a span.
constexpr int64_t kSpanPixels = 1024;

bool is_unit(const LayerSpec& conv, const LayerSpec& norm) {
  using enum LayerKind;
  const bool is_pointwise =
      conv.kernel_height == 1 && conv.kernel_width == 1 && conv.padding_height == 0 && conv.padding_width == 0;
  const bool is_square =
      conv.kernel_height == 3 && conv.kernel_width == 3 && conv.padding_height == 1 && conv.padding_width == 1;
  return conv.kind == conv2d && norm.kind == batch_norm2d && (is_pointwise || is_square) && conv.stride_height == 1 &&
         conv.stride_width == 1 && conv.dilation_height == 1 && conv.dilation_width == 1 && conv.groups == 1 &&
         conv.in_features % 8 == 0 && conv.out_features % 8 == 0 && norm.in_features == conv.out_features;
}

// Of four pixels, the last where two or less are left of two; or all of two.
int64_t tiles_along(int64_t pixels, int64_t tile, int64_t& whole) {
  const int64_t left = pixels % tile;
  whole = pixels / tile + (left > 2 || (left > 0 && tile == 2) ? 1 : 0);
  return whole + (whole * tile < pixels ? 1 : 0);
}

TileGrid grid_of(int64_t height, int64_t width, int64_t tile) {
  TileGrid grid;
  grid.rows = tiles_along(height, tile, grid.whole_rows);
  grid.columns = tiles_along(width, tile, grid.whole_columns);
  return grid;
}

// Pixels that so many tiles in a row give.
int64_t pixels_along(int64_t tiles, int64_t whole, int64_t tile) { return tile * whole + 2 * (tiles - whole); }

// What the 3x3 convolutions take by Winograd's algorithm with tiles of this side, in products of two numbers, measured
// on Zen 4: to transform a number takes as long as 2 `tile` products, and to transform and fetch a weight as long
// as 64.
int64_t cost_of(const ConvChain& chain, int64_t images, int64_t height, int64_t width, int64_t tile) {
  const TileGrid grid = grid_of(height, width, tile);
  const auto taken = [&](int64_t tiles, int64_t whole) { return pixels_along(tiles, whole, tile) + 2 * tiles; };
  const int64_t numbers = images * taken(grid.rows, grid.whole_rows) * taken(grid.columns, grid.whole_columns);
  int64_t cost = 0;
  for (const ConvUnit& unit : chain.units) {
    if (unit.taps != 9) continue;
    const int64_t weights = unit.in * unit.out;
    cost += numbers * (weights + 2 * tile * (unit.in + unit.out)) + (tile + 2) * (tile + 2) * 64 * weights;
  }
  return cost;
}

}  // namespace

ConvChain conv_chain(const std::vector<LayerSpec>& layers) {
  ConvChain chain;
  if (layers.empty()) return {};
  chain.starts_with_relu = layers[0].kind == LayerKind::relu;
  for (size_t i = chain.first_layer(); i < layers.size(); i += 3) {
    if (i + 1 >= layers.size() || !is_unit(layers[i], layers[i + 1])) return {};
    const bool is_last = i + 2 == layers.size();
    if (!is_last && (layers[i + 2].kind != LayerKind::relu || i + 3 == layers.size())) return {};
    const LayerSpec& conv = layers[i];
    if (!chain.units.empty() && chain.units.back().out != conv.in_features) return {};
    chain.units.push_back({conv.in_features, conv.out_features, conv.kernel_height * conv.kernel_width});
  }
  if (chain.units.empty() || chain.units.back().out != chain.channels()) return {};
  return chain;
}

int64_t ConvChain::most_inner_channels() const {
  int64_t most = 0;
  for (size_t i = 1; i < units.size(); ++i) most = std::max(most, units[i].in);
  return most;
}

bool ConvChain::fills_blocks_of(int64_t lanes) const {
  return std::all_of(units.begin(), units.end(),
                     [&](const ConvUnit& unit) { return unit.in % lanes == 0 && unit.out % lanes == 0; });
}

ConvPlan::ConvPlan(const ConvChain& chain, int64_t images, int64_t height, int64_t width, int64_t depth)
    : chain_(chain),
      images_(images),
      height_(height),
      width_(width),
      depth_(depth),
      lanes_(chain.fills_blocks_of(16) ? 16 : 8) {
  if (depth == 1 && cost_of(chain, images, height, width, 4) < cost_of(chain, images, height, width, 2)) tile_ = 4;
  grid_ = grid_of(height, width, tile_);
  int64_t weights = 0;
  for (const ConvUnit& unit : chain.units) {
    most_channels_ = std::max({most_channels_, unit.in, unit.out});
    weights = std::max(weights, unit.taps * unit.in * unit.out);
  }
  const int64_t group_pixels = std::clamp(std::min(kGroupNumbers / most_channels_, pixels() / kEnoughGroups),
                                          kLeastGroupPixels, kMostGroupPixels);
  group_images_ = std::clamp<int64_t>(group_pixels / image_pixels(), 1, std::max<int64_t>(images, 1));
  sums_by_parts_ = weights <= kMostWeightsOfParts;
  parts_ = groups();
  if (sums_by_parts_) {
    int64_t most = kMostParts;
    while (most > 4 && most * weights > kMostSums) most /= 2;
    parts_ = std::min(most, parts_);
  }
  span_groups_ = std::clamp<int64_t>(kSpanPixels / (group_images_ * image_pixels()), 1, groups());
}

int64_t ConvPlan::packed_position(size_t unit) const { return odd(chain_.units[unit].in * chain_.units[unit].out); }

int64_t ConvPlan::images_of(int64_t group) const { return std::min(group_images_, images_ - first_image(group)); }

ConvShape ConvPlan::dense(int64_t channels, int64_t images) const {
  ConvShape shape;
  shape.images = images;
  shape.height = height_;
  shape.width = width_;
  shape.channels = channels;
  shape.lanes = lanes_;
  return shape;
}

ConvShape ConvPlan::blocked(int64_t channels, int64_t images, bool bordered, int64_t block) const {
  ConvShape shape = dense(channels, images);
  shape.is_bordered = bordered;
  if (bordered) {
    shape.row = (pixels_along(grid_.columns, grid_.whole_columns, tile_) + 2) * lanes_;
    shape.plane = (pixels_along(grid_.rows, grid_.whole_rows, tile_) + 2) * shape.row;
    shape.block = group_images_ * shape.plane;
  } else {
    shape.block = block > 0 ? block : odd(group_images_ * image_pixels() * lanes_);
  }
  return shape;
}

ConvPass ConvPlan::pass_of(size_t unit, int64_t in, int64_t out, int64_t images, int64_t block) const {
  const bool winograd = is_winograd(unit);
  ConvPass pass;
  pass.out_pixel = out;
  pass.in = blocked(in, images, winograd, block);
  pass.out = blocked(out, images, winograd, block);
  if (!winograd) {
    pass.band = std::max<int64_t>(kBandBytes * depth_ / (4 * in), 32);
    return pass;
  }
  pass.positions = positions(unit);
  pass.grid = grid_;
  pass.band = std::clamp<int64_t>(kBandTiles / grid_.columns, 1, group_images_ * grid_.rows);
  // Only the last band may have a tile without a partner.
  if (grid_.columns % depth_ != 0) pass.band = room_of(pass.band);
  const int64_t tiles = pass.band * grid_.columns;
  pass.inputs = tile_shape(in, tiles);
  pass.outputs = tile_shape(out, tiles);
  pass.weights = packed_position(unit);
  return pass;
}

TileShape ConvPlan::tile_shape(int64_t channels, int64_t tiles) const {
  const int64_t block = odd(room_of(tiles) * lanes_);
  return {odd(channels / lanes_ * block), block};
}

TileCounts ConvPlan::tiles_of(size_t unit, int64_t images) const {
  if (is_winograd(unit)) return count_tiles(grid_, 0, images * grid_.rows);
  return {{{images * image_pixels(), 0}, {0, 0}}};
}

ConvPass ConvPlan::pass(size_t unit, int64_t images, int64_t block) const {
  return pass_of(unit, chain_.units[unit].in, chain_.units[unit].out, images, block);
}

ConvPass ConvPlan::back_pass(size_t unit, int64_t images, int64_t block) const {
  return pass_of(unit, chain_.units[unit].out, chain_.units[unit].in, images, block);
}

int64_t ConvPlan::take_share(ConvPass& pass, const ConvShare& share) const {
  // The loops take blocks in pairs.
  const int64_t channels = pass.out.channels, of_pair = 2 * lanes_, pairs = (channels + of_pair - 1) / of_pair;
  const int64_t first = share.index * pairs / share.count * of_pair;
  const int64_t end = std::min((share.index + 1) * pairs / share.count * of_pair, channels);
  pass.out.channels = end - first;
  return first;
}

int64_t ConvPlan::blocked_size(size_t unit) const {
  const ConvPass of_group = pass(unit, group_images_);
  return std::max(of_group.in.channels, of_group.out.channels) / lanes_ * of_group.in.block;
}

int64_t ConvPlan::scratch_size(size_t unit) const {
  const ConvPass of_group = pass(unit, group_images_);
  return positions(unit) * (of_group.inputs.position + of_group.outputs.position);
}

}  // namespace resnet_nodes
