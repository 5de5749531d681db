// conv_kernels_test.cpp: the convolutions of a group of images on every kernel path, against plain loops in float64.
#include "kernels/conv/conv_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "fused/conv_plan.h"
#include "kernels/paths/kernel_path.h"

namespace resnet_nodes {
namespace {

std::vector<float> drawn(int64_t count, std::mt19937& generator) {
  std::normal_distribution<float> distribution;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = distribution(generator);
  return values;
}

// Element (channel, y, x) of one of some dense images; 0 outside of it.
double pixel(const std::vector<float>& dense, const ConvShape& s, int64_t image, int64_t channel, int64_t y,
             int64_t x) {
  if (y < 0 || x < 0 || y >= s.height || x >= s.width) return 0;
  return static_cast<double>(dense[static_cast<size_t>(((image * s.height + y) * s.width + x) * s.channels + channel)]);
}

struct Sizes {
  int64_t in, out, taps, images, height, width;
};
std::string description(const Sizes& s) {
  return std::to_string(s.in) + " to " + std::to_string(s.out) + " channels, " + std::to_string(s.taps) + " taps, " +
         std::to_string(s.images) + " images of " + std::to_string(s.height) + " x " + std::to_string(s.width);
}

template <typename Number>
float widened(Number number) {
  if constexpr (std::is_same_v<Number, float>) {
    return number;
  } else {
    return std::bit_cast<float>(uint32_t{number.bits} << 16);
  }
}

// To the nearest numbers of this type.
template <typename Number>
std::vector<float> rounded(std::vector<float> values) {
  if constexpr (!std::is_same_v<Number, float>) {
    for (float& value : values) {
      const auto bits = std::bit_cast<uint32_t>(value);
      value = std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
    }
  }
  return values;
}

// One convolution of a group of images, forwards and back, by the loops.
template <typename Number>
struct ByLoops {
  std::vector<float> out, in_shares, back,
      sums;  // bias + and base + convolution; sums: [tap][in / lanes][out][in % lanes]

  ByLoops(const ConvPlan& plan, const ConvKernels<Number>& kernels, const Sizes& s, const std::vector<float>& x,
          const std::vector<float>& g, const std::vector<float>& weights, const std::vector<float>& bias,
          const std::vector<float>& base)
      : back(g.size()) {
    const ConvPass pass = plan.pass(0, s.images);
    const auto room = [](int64_t count) { return std::vector<Number>(static_cast<size_t>(count)); };
    const auto floats = [](int64_t count) { return std::vector<float>(static_cast<size_t>(count)); };
    std::vector<Number> input = room(plan.blocked_size(0)), gradient(input), given(g.size());
    std::vector<float> scratch = floats(plan.scratch_size(0));
    constexpr float kAll = -std::numeric_limits<float>::infinity();
    kernels.block(input.data(), x.data(), kAll, pass.in);
    kernels.block(gradient.data(), g.data(), kAll, pass.out);
    const int64_t count = s.in * s.out;
    const bool winograd = plan.is_winograd(0);
    std::vector<float> transformed = weights;
    if (winograd) {
      transformed = floats(plan.packed_size(0));
      kernels.layouts.transform_weights(transformed.data(), pass.weights, weights.data(), count, count, pass.positions);
    }
    const std::vector<Number> packed = in_order(kernels, transformed);
    kernels.convolve(given.data(), input.data(), packed.data(), bias.data(), scratch.data(), pass);
    for (const Number& number : given) out.push_back(widened(number));
    std::fill(given.begin(), given.end(), Number());
    for (int64_t i = 0; i < 3; ++i) {
      ConvPass of_share = pass;
      const int64_t first = plan.take_share(of_share, {i, 3});
      if (of_share.out.channels == 0) continue;
      kernels.convolve(given.data() + first, input.data(), packed.data() + first * s.in, bias.data() + first,
                       scratch.data(), of_share);
    }
    for (const Number& number : given) in_shares.push_back(widened(number));
    kernels.convolve_back(back.data(), input.data(), packed.data(), base.data(), scratch.data(), pass);
    sums = floats(s.taps * count);
    SumShape shape{{}, 1, s.in, s.out, 0, {}, {}};
    const auto add = [&](float* to, const Number* inputs, TileShape input_tiles, const Number* gradients,
                         TileShape gradient_tiles, const TileCounts& counts, bool adds) {
      const int64_t tiles = counts.of[0][0];
      std::vector<Number> pairs[2];
      const auto in_pairs = [&](std::vector<Number>& pair, const Number* own, TileShape& own_shape, int64_t channels) {
        if (kernels.pairs.tiles == nullptr) return own;
        const TileShape to_shape = plan.tile_shape(channels, tiles);
        pair = room(shape.positions * to_shape.position);
        kernels.pairs.tiles(pair.data(), to_shape, own, own_shape, shape.positions, channels / plan.lanes(), tiles);
        own_shape = to_shape;
        return static_cast<const Number*>(pair.data());
      };
      inputs = in_pairs(pairs[0], inputs, input_tiles, s.in);
      gradients = in_pairs(pairs[1], gradients, gradient_tiles, s.out);
      shape.tiles = counts;
      shape.inputs = input_tiles;
      shape.gradients = gradient_tiles;
      kernels.sum_products(to, inputs, gradients, adds, shape);
    };
    if (!winograd) {
      add(sums.data(), input.data(), {0, pass.in.block}, gradient.data(), {0, pass.out.block},
          plan.tiles_of(0, s.images), false);
      return;
    }
    // In two pieces, of which the second is added to the first.
    const int64_t rows = s.images * pass.grid.rows, first_rows = rows / 2;
    std::vector<float> by_position = floats(plan.packed_size(0));
    shape.positions = pass.positions;
    shape.position = pass.weights;
    const TileShape of_inputs = plan.tile_shape(s.in, rows * pass.grid.columns);
    const TileShape of_gradients = plan.tile_shape(s.out, rows * pass.grid.columns);
    std::vector<Number> inputs = room(pass.positions * of_inputs.position),
                        gradients = room(pass.positions * of_gradients.position);
    for (const TileRows piece : {TileRows{0, first_rows}, TileRows{first_rows, rows - first_rows}}) {
      kernels.input_tiles(inputs.data(), input.data(), piece, of_inputs, pass);
      kernels.gradient_tiles(gradients.data(), gradient.data(), piece, of_gradients, pass);
      add(by_position.data(), inputs.data(), of_inputs, gradients.data(), of_gradients,
          count_tiles(pass.grid, piece.first, piece.count), piece.first > 0);
    }
    kernels.layouts.transform_sums(sums.data(), count, by_position.data(), shape.position, count, pass.positions);
  }

 private:
  // Weights as the loops multiply them, square by square of 16 x 16.
  static std::vector<Number> in_order(const ConvKernels<Number>& kernels, const std::vector<float>& weights) {
    if constexpr (std::is_same_v<Number, float>) {
      return weights;
    } else {
      std::vector<Number> packed(weights.size());
      for (size_t i = 0; i + 256 <= weights.size(); i += 256) kernels.pairs.weights(&packed[i], &weights[i]);
      return packed;
    }
  }
};

// Where the largest of many errors may lie, in float32: sums of k products of normal numbers: sqrt(k) u in the mean,
// and a factor 10.
double bound_of(int64_t products) { return 10 * std::sqrt(static_cast<double>(products)) * 6e-8 * 10; }

class ConvKernelsTest : public testing::TestWithParam<const KernelPath*> {};

// On random sizes, of channels in multiples of `multiple`. `unit`: what numbers are rounded by on their way.
template <typename Number, typename KernelsOf>
void expect_as_plain_loops(int64_t multiple, double unit, const KernelsOf& kernels_of) {
  std::mt19937 generator(5);
  std::map<int64_t, int> turns_by_positions;
  const auto drawn_from = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(generator);
  };
  for (int turn = 0; turn < 60; ++turn) {
    const Sizes s{multiple * drawn_from(1, 80 / multiple),
                  multiple * drawn_from(1, 80 / multiple),
                  turn % 3 == 0 ? 1 : 9,
                  drawn_from(1, 4),
                  drawn_from(1, 9),
                  drawn_from(2, 9)};
    // As part of a large batch, where large tiles are cheaper, and by itself.
    const int64_t batch = turn % 2 == 0 ? 1024 : s.images;
    const ConvPlan plan({false, {{s.in, s.out, s.taps}}}, batch, s.height, s.width, kDepth<Number>);
    if (plan.group_images() < s.images) continue;
    ++turns_by_positions[plan.positions(0)];
    const ConvShape of_input = plan.dense(s.in, s.images), of_output = plan.dense(s.out, s.images);
    const int64_t pixels = s.images * s.height * s.width, lanes = plan.lanes(), count = s.in * s.out;
    const std::vector<float> x = rounded<Number>(drawn(pixels * s.in, generator)),
                             g = rounded<Number>(drawn(pixels * s.out, generator)),
                             base = drawn(pixels * s.out, generator), bias = drawn(s.out, generator),
                             weights = rounded<Number>(drawn(s.taps * count, generator));
    const ByLoops<Number> found(plan, kernels_of(lanes), s, x, g, weights, bias, base);
    // Winograd's transforms of rounded numbers are rounded again, by up to twice a number's own rounding in the mean,
    // those of a whole tile. Without them products are exact.
    const double of_tiles = plan.is_winograd(0) ? 2 * unit : 0, inputs = std::sqrt(static_cast<double>(s.taps * s.in));
    const double tile_pixels = std::sqrt(static_cast<double>(4 * plan.tiles_of(0, s.images).of[0][0]));
    // The transforms of large tiles lose four times as much as products do (docs/architecture.md).
    const double lost = plan.positions(0) == 36 ? 4 : 1;
    const double convolved = lost * bound_of(s.taps * s.in) + 10 * inputs * of_tiles;
    const double given = convolved + 10 * inputs * unit;
    const double summed = lost * bound_of(pixels) + 10 * tile_pixels * of_tiles;
    double off = 0, off_back = 0, off_sums = 0;
    const auto shift = [&](int64_t tap) {
      return s.taps == 1 ? std::pair(0L, 0L) : std::pair(tap / 3 - 1, tap % 3 - 1);
    };
    const auto for_pixels = [&](const auto& body) {
      for (int64_t image = 0; image < s.images; ++image) {
        for (int64_t y = 0; y < s.height; ++y) {
          for (int64_t k = 0; k < s.width; ++k) body(image, y, k);
        }
      }
    };
    for (int64_t o = 0; o < s.out; o += 7) {
      for_pixels([&](int64_t image, int64_t y, int64_t k) {
        double expected = 0;
        for (int64_t in = 0; in < s.in; ++in) {
          for (int64_t tap = 0; tap < s.taps; ++tap) {
            const auto [down, right] = shift(tap);
            // [tap][out / lanes][in][out % lanes]
            const int64_t place = tap * count + (o / lanes * s.in + in) * lanes + o % lanes;
            expected += static_cast<double>(weights[static_cast<size_t>(place)]) *
                        pixel(x, of_input, image, in, y + down, k + right);
          }
        }
        const auto own_bias = static_cast<double>(bias[static_cast<size_t>(o)]);
        off = std::max(off, std::abs(pixel(found.out, of_output, image, o, y, k) - expected - own_bias));
        const double added = expected + pixel(base, of_output, image, o, y, k);
        off_back = std::max(off_back, std::abs(pixel(found.back, of_output, image, o, y, k) - added));
      });
      for (int64_t in = 0; in < s.in; in += 3) {
        for (int64_t tap = 0; tap < s.taps; ++tap) {
          const auto [down, right] = shift(tap);
          double expected = 0;
          for_pixels([&, down = down, right = right](int64_t image, int64_t y, int64_t k) {
            expected += pixel(g, of_output, image, o, y, k) * pixel(x, of_input, image, in, y + down, k + right);
          });
          const int64_t place = tap * count + (in / lanes * s.out + o) * lanes + in % lanes;
          off_sums =
              std::max(off_sums, std::abs(static_cast<double>(found.sums[static_cast<size_t>(place)]) - expected));
        }
      }
    }
    EXPECT_EQ(found.in_shares, found.out) << description(s);
    EXPECT_LT(off, given) << description(s);
    EXPECT_LT(off_back, convolved) << description(s);
    EXPECT_LT(off_sums, summed) << description(s);
  }
  EXPECT_GT(turns_by_positions[1], 5);
  EXPECT_GT(turns_by_positions[16], 5);
  if (kDepth<Number> == 1) {
    EXPECT_GT(turns_by_positions[36], 5);
  }
}

TEST(ConvPlan, TakesLargeTilesWhereTheyAreCheaper) {
  const auto positions = [](int64_t channels, int64_t images, int64_t pixels, int64_t depth = 1) {
    return ConvPlan({true, {{channels, channels, 9}}}, images, pixels, pixels, depth).positions(0);
  };
  EXPECT_EQ(positions(64, 8, 32), 36);
  EXPECT_EQ(positions(64, 8, 32, kDepth<BFloat16>), 16) << "too narrow for them";
  EXPECT_EQ(positions(64, 128, 4), 36);
  EXPECT_EQ(positions(64, 128, 2), 16) << "one tile of two pixels either way";
  EXPECT_EQ(positions(64, 128, 6), 36) << "a last tile of two pixels";
  EXPECT_EQ(positions(512, 8, 4), 16) << "weights outweigh tiles";
  EXPECT_EQ(positions(64, 128, 1), 1);
}

TEST_P(ConvKernelsTest, ConvolveAndDifferentiateAsPlainLoopsDo) {
  expect_as_plain_loops<float>(8, 0,
                               [](int64_t lanes) { return lanes == 16 ? GetParam()->conv16 : GetParam()->conv8; });
}

TEST_P(ConvKernelsTest, InBFloat16Too) {
  const ConvKernels<BFloat16>* const kernels = GetParam()->conv16_bfloat16;
  if (kernels == nullptr) return;
  expect_as_plain_loops<BFloat16>(16, std::ldexp(1.0, -9), [&](int64_t) { return *kernels; });
}

INSTANTIATE_TEST_SUITE_P(Paths, ConvKernelsTest, testing::ValuesIn(runnable_kernel_paths()),
                         [](const auto& info) { return info.param->name; });

}  // namespace
}  // namespace resnet_nodes
