// conv_kernels_test.cpp: the convolutions of one image on every kernel path, against plain loops in float64.
#include "kernels/conv/conv_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "fused/conv_workspace.h"
#include "kernels/paths/kernel_path.h"

namespace resnet_nodes {
namespace {

std::vector<float> drawn(int64_t count, std::mt19937& generator) {
  std::normal_distribution<float> distribution;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = distribution(generator);
  return values;
}

// Element (channel, y, x) of a dense image; 0 outside of it.
double pixel(const std::vector<float>& dense, const ConvShape& s, int64_t channel, int64_t y, int64_t x) {
  if (y < 0 || x < 0 || y >= s.height || x >= s.width) return 0;
  return static_cast<double>(dense[static_cast<size_t>((y * s.width + x) * s.channels + channel)]);
}

// Where the kernels keep the weight of these channels and this tap.
size_t weight_place(const ConvShape& s, int64_t out, int64_t in, int64_t tap) {
  const int64_t square = ((out / s.lanes * s.blocks + in / s.lanes) * 9 + tap) * s.lanes * s.lanes;
  return static_cast<size_t>(square + in % s.lanes * s.lanes + out % s.lanes);
}

class ConvKernelsTest : public testing::TestWithParam<const KernelPath*> {};

TEST_P(ConvKernelsTest, ConvolveAndDifferentiateAsPlainLoopsDo) {
  std::mt19937 generator(5);
  for (const int64_t channels : {8, 16, 24, 32, 48}) {
    for (int64_t width = 1; width <= 13; ++width) {
      const ConvShape s = image_shape(channels, 1 + (width * 5) % 13, width);
      const ConvKernels& kernels = s.lanes == 16 ? GetParam()->conv16 : GetParam()->conv8;
      const std::vector<float> x = drawn(dense_size(s), generator), g = drawn(dense_size(s), generator);
      const std::vector<float> weights = drawn(weight_size(s), generator), bias = drawn(channels, generator);
      std::vector<float> x_bordered(static_cast<size_t>(bordered_size(s))), g_bordered(x_bordered), out(x),
          sums(weights.size());
      kernels.border(x_bordered.data(), x.data(), s);
      kernels.border(g_bordered.data(), g.data(), s);
      std::vector<float> scratch(static_cast<size_t>(scratch_size(s))),
          transformed(static_cast<size_t>(transformed_weight_size(s))), transformed_sums(transformed.size());
      const int64_t square = s.lanes * s.lanes;
      const auto for_squares = [&](const auto& body) {
        for (int64_t i = 0; i < s.blocks * s.blocks; ++i) body(i * square, i * 9 * square);
      };
      for_squares([&](int64_t to, int64_t from) {
        kernels.transform_weights(transformed.data() + to, weights.data() + from, square, s);
      });
      kernels.convolve(out.data(), x_bordered.data(), transformed.data(), bias.data(), g.data(), scratch.data(), s);
      kernels.weight_gradient(transformed_sums.data(), x_bordered.data(), g_bordered.data(), scratch.data(), s);
      for_squares([&](int64_t from, int64_t to) {
        kernels.transform_sums(sums.data() + to, square, transformed_sums.data() + from, s);
      });
      // Sums of k products of normal numbers: sqrt(k) u in the mean, and a factor 10 for the largest of many.
      const double convolved = 10 * std::sqrt(9.0 * static_cast<double>(channels)) * 6e-8 * 10;
      const double summed = 10 * std::sqrt(static_cast<double>(s.height * s.width)) * 6e-8 * 10;
      double off = 0, off_sums = 0;
      for (int64_t out_channel = 0; out_channel < channels; out_channel += 7) {
        for (int64_t y = 0; y < s.height; ++y) {
          for (int64_t k = 0; k < s.width; ++k) {
            double expected =
                static_cast<double>(bias[static_cast<size_t>(out_channel)]) + pixel(g, s, out_channel, y, k);
            for (int64_t in = 0; in < channels; ++in) {
              for (int64_t tap = 0; tap < 9; ++tap) {
                expected += static_cast<double>(weights[weight_place(s, out_channel, in, tap)]) *
                            pixel(x, s, in, y + tap / 3 - 1, k + tap % 3 - 1);
              }
            }
            off = std::max(off, std::abs(pixel(out, s, out_channel, y, k) - expected));
          }
        }
        for (int64_t in = 0; in < channels; ++in) {
          for (int64_t tap = 0; tap < 9; ++tap) {
            double expected = 0;
            for (int64_t y = 0; y < s.height; ++y) {
              for (int64_t k = 0; k < s.width; ++k) {
                expected += pixel(g, s, out_channel, y, k) * pixel(x, s, in, y + tap / 3 - 1, k + tap % 3 - 1);
              }
            }
            const double found = static_cast<double>(sums[weight_place(s, out_channel, in, tap)]);
            off_sums = std::max(off_sums, std::abs(found - expected));
          }
        }
      }
      EXPECT_LT(off, convolved) << channels << " channels, " << s.height << " x " << s.width;
      EXPECT_LT(off_sums, summed) << channels << " channels, " << s.height << " x " << s.width;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, ConvKernelsTest, testing::ValuesIn(runnable_kernel_paths()),
                         [](const auto& info) { return info.param->name; });

}  // namespace
}  // namespace resnet_nodes
