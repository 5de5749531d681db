// conv_kernels_test.cpp: the convolutions of a group of images on every kernel path, against plain loops in float64.
#include "kernels/conv/conv_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
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

// One convolution of a group of images, forwards and back, by the loops.
struct ByLoops {
  std::vector<float> out, sums;  // sums: [tap][in / lanes][out][in % lanes]

  ByLoops(const ConvPlan& plan, const ConvKernels& kernels, const Sizes& s, const std::vector<float>& x,
          const std::vector<float>& g, const std::vector<float>& weights, const std::vector<float>& bias,
          const std::vector<float>& base)
      : out(g.size()) {
    const ConvPass pass = plan.pass(0, s.images);
    const auto room = [](int64_t count) { return std::vector<float>(static_cast<size_t>(count)); };
    std::vector<float> input = room(plan.blocked_size(0)), gradient(input), scratch = room(plan.scratch_size(0));
    constexpr float kAll = -std::numeric_limits<float>::infinity();
    kernels.block(input.data(), x.data(), kAll, pass.in);
    kernels.block(gradient.data(), g.data(), kAll, pass.out);
    const int64_t count = s.in * s.out;
    std::vector<float> packed = room(plan.packed_size(0)), sums_by_position(packed);
    const bool winograd = plan.is_winograd(0);
    if (winograd) {
      kernels.transform_weights(packed.data(), pass.weights, weights.data(), count, count);
    } else {
      packed = weights;
    }
    kernels.convolve(out.data(), input.data(), packed.data(), bias.data(), base.data(), scratch.data(), pass);
    SumShape shape{s.images * s.height * s.width, 1, s.in, s.out, 0, {0, pass.in.block}, {0, pass.out.block}};
    sums = room(s.taps * count);
    if (!winograd) {
      kernels.sum_products(sums.data(), input.data(), gradient.data(), false, shape);
      return;
    }
    // In two pieces, of which the second is added to the first.
    const int64_t rows = s.images * pass.tile_rows, first_rows = rows / 2;
    shape.positions = 16;
    shape.position = pass.weights;
    shape.inputs = plan.tile_shape(s.in, rows * pass.tile_columns);
    shape.gradients = plan.tile_shape(s.out, rows * pass.tile_columns);
    std::vector<float> inputs = room(16 * shape.inputs.position), gradients = room(16 * shape.gradients.position);
    for (const TileRows piece : {TileRows{0, first_rows}, TileRows{first_rows, rows - first_rows}}) {
      kernels.input_tiles(inputs.data(), input.data(), piece, shape.inputs, pass);
      kernels.gradient_tiles(gradients.data(), gradient.data(), piece, shape.gradients, pass);
      shape.tiles = piece.count * pass.tile_columns;
      kernels.sum_products(sums_by_position.data(), inputs.data(), gradients.data(), piece.first > 0, shape);
    }
    kernels.transform_sums(sums.data(), count, sums_by_position.data(), shape.position, count);
  }
};

class ConvKernelsTest : public testing::TestWithParam<const KernelPath*> {};

TEST_P(ConvKernelsTest, ConvolveAndDifferentiateAsPlainLoopsDo) {
  constexpr int64_t kChannels[] = {8, 16, 24, 32, 48, 64, 80};
  std::mt19937 generator(5);
  const auto drawn_from = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(generator);
  };
  for (int turn = 0; turn < 60; ++turn) {
    const Sizes s{kChannels[drawn_from(0, 6)],
                  kChannels[drawn_from(0, 6)],
                  turn % 3 == 0 ? 1 : 9,
                  drawn_from(1, 4),
                  drawn_from(1, 9),
                  drawn_from(2, 9)};
    const ConvPlan plan({false, {{s.in, s.out, s.taps}}}, s.images, s.height, s.width);
    if (plan.group_images() < s.images) continue;
    const ConvKernels& kernels = plan.lanes() == 16 ? GetParam()->conv16 : GetParam()->conv8;
    const ConvShape of_input = plan.dense(s.in, s.images), of_output = plan.dense(s.out, s.images);
    const int64_t pixels = s.images * s.height * s.width, lanes = plan.lanes(), count = s.in * s.out;
    const std::vector<float> x = drawn(pixels * s.in, generator), g = drawn(pixels * s.out, generator),
                             base = drawn(pixels * s.out, generator), bias = drawn(s.out, generator),
                             weights = drawn(s.taps * count, generator);
    const ByLoops found(plan, kernels, s, x, g, weights, bias, base);
    // Sums of k products of normal numbers: sqrt(k) u in the mean, and a factor 10 for the largest of many.
    const double convolved = 10 * std::sqrt(static_cast<double>(s.taps * s.in)) * 6e-8 * 10;
    const double summed = 10 * std::sqrt(static_cast<double>(pixels)) * 6e-8 * 10;
    double off = 0, off_sums = 0;
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
        double expected = static_cast<double>(bias[static_cast<size_t>(o)]) + pixel(base, of_output, image, o, y, k);
        for (int64_t in = 0; in < s.in; ++in) {
          for (int64_t tap = 0; tap < s.taps; ++tap) {
            const auto [down, right] = shift(tap);
            // [tap][out / lanes][in][out % lanes]
            const int64_t place = tap * count + (o / lanes * s.in + in) * lanes + o % lanes;
            expected += static_cast<double>(weights[static_cast<size_t>(place)]) *
                        pixel(x, of_input, image, in, y + down, k + right);
          }
        }
        off = std::max(off, std::abs(pixel(found.out, of_output, image, o, y, k) - expected));
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
    EXPECT_LT(off, convolved) << description(s);
    EXPECT_LT(off_sums, summed) << description(s);
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, ConvKernelsTest, testing::ValuesIn(runnable_kernel_paths()),
                         [](const auto& info) { return info.param->name; });

}  // namespace
}  // namespace resnet_nodes
