// conv_bn_folding_test.cpp: convolution, normalization and ReLU as one convolution, in float32 against plain loops and
// against the layers one by one in float64.
#include "layers/conv_bn_folding.h"

#include <algorithm>

#include "tensors/layout.h"
#include "tensors/operators.h"
#include "truth.h"

namespace resnet_nodes {
namespace {

using namespace truth;

Tensor single(const Tensor& tensor) { return torch::stable::to(tensor, ScalarType::Float); }

// relu(gamma (conv(x) - mean) / deviation + beta) by plain loops over row-major values.
std::vector<double> by_loops(const Tensor& x, const Tensor& w, const Tensor& b, const LayerSpec& s,
                             const KnownNorm& norm, bool relu) {
  const std::vector<double> xs = values(x), ws = values(w);
  const int64_t height = x.size(2), width = x.size(3), in = s.in_features / s.groups;
  const auto number = [](const Tensor& t, int64_t c, double otherwise) {
    return t.defined() ? values(t)[static_cast<size_t>(c)] : otherwise;
  };
  std::vector<double> out;
  for (int64_t image = 0; image < x.size(0); ++image) {
    for (int64_t o = 0; o < s.out_features; ++o) {
      const int64_t first = o / (s.out_features / s.groups) * in;
      const double gamma = number(norm.weight, o, 1), beta = number(norm.bias, o, 0);
      const double mean = number(norm.mean, o, 0), inverse = number(norm.invstd, o, 0);
      for (int64_t i = 0; i < height; ++i) {
        for (int64_t j = 0; j < width; ++j) {
          double sum = number(b, o, 0);
          for (int64_t c = 0; c < in; ++c) {
            for (int64_t k = 0; k < s.kernel_height * s.kernel_width; ++k) {
              const int64_t y = i + k / s.kernel_width * s.dilation_height - s.padding_height;
              const int64_t z = j + k % s.kernel_width * s.dilation_width - s.padding_width;
              if (y < 0 || z < 0 || y >= height || z >= width) continue;
              const int64_t from = ((image * s.in_features + first + c) * height + y) * width + z;
              const int64_t weight = (o * in + c) * s.kernel_height * s.kernel_width + k;
              sum += xs[static_cast<size_t>(from)] * ws[static_cast<size_t>(weight)];
            }
          }
          const double value = (sum - mean) * inverse * gamma + beta;
          out.push_back(relu ? std::max(0.0, value) : value);
        }
      }
    }
  }
  return out;
}

TEST(ConvBnFolding, FoldedConvolutionIsConvolutionNormalizationAndRelu) {
  const LayerSpec shapes[] = {conv(5, 7), conv(6, 6, 3, 2), conv(8, 4, 1), conv(6, 6, 5, 1, 3)};
  Generator generator(41);
  for (const LayerSpec& s : shapes) {
    for (int bits = 0; bits < 8; ++bits) {
      const bool relu = (bits & 1) != 0, with_bias = (bits & 2) != 0, affine = (bits & 4) != 0;
      const Shape channels{s.out_features};
      const Tensor x = state_layout(single(normal({2, s.in_features, 6, 5}, generator)));
      const Tensor w =
          single(normal({s.out_features, s.in_features / s.groups, s.kernel_height, s.kernel_width}, generator, 0.3));
      const Tensor b = with_bias ? single(normal(channels, generator)) : Tensor();
      KnownNorm norm{single(normal(channels, generator)),
                     single(moved(truth::constant(channels, 1.5), normal(channels, generator), 0.2)), Tensor(),
                     Tensor()};
      if (affine) norm.weight = single(normal(channels, generator)), norm.bias = single(normal(channels, generator));
      ASSERT_EQ(folds(x), on_cpu());
      // Sums of at most 50 products in float32, sqrt(50) u with u = 6e-8, times at most 10.
      EXPECT_LT(relative_error(values(folded_convolution(x, w, b, s, norm, relu)), by_loops(x, w, b, s, norm, relu)),
                10 * 7 * 6e-8)
          << s.kernel_height << ", " << bits;
    }
  }
}

TEST(ConvBnFolding, FoldInFloat32Alone) {
  Generator generator(42);
  const Tensor x = normal({2, 3, 4, 4}, generator);
  EXPECT_FALSE(folds(x));
  EXPECT_FALSE(folds(torch::stable::to(x, ScalarType::BFloat16)));
  EXPECT_FALSE(folds(single(normal({2, 3}, generator))));
}

// 12 channels do not fuse, so this is the way of layers; `inverse` has no evaluation with a tape that would put the
// state right.
TEST(ConvBnFolding, WalksBackToTheStatesOfFloat64) {
  const FunctionSpec bottleneck{{conv(12, 6, 1), batch_norm(6), activation(LayerKind::relu), conv(6, 6), batch_norm(6),
                                 activation(LayerKind::relu), conv(6, 12, 1), batch_norm(12)}};
  for (const FunctionSpec& function : {tiny_function(12), bottleneck}) {
    for (const bool training : {true, false}) {
      const Problem wide = make_problem(std::vector<FunctionSpec>(4, function), 4, {4, 12, 7, 6}, 43, training);
      Problem narrow = wide;
      narrow.x = single(wide.x), narrow.grad = single(wide.grad);
      for (Tensor& tensor : narrow.parameters) tensor = single(tensor);
      for (Tensor& tensor : narrow.buffers) tensor = single(tensor);
      StageOptions options;
      options.step_size = 1e-2;
      options.keep_input = true;
      options.reconstruction = ReconstructionKind::inverse;
      const Outcome found = run(narrow, options), expected = run(wide, options);
      // The state's own error is far above rounding, so both must have the same.
      EXPECT_NEAR(found.report.reconstruction_error, expected.report.reconstruction_error,
                  0.01 * expected.report.reconstruction_error);
      options.reconstruction = ReconstructionKind::corrected;
      options.count = 3;
      EXPECT_LT(relative_error(values(run(narrow, options).input_gradient), values(run(wide, options).input_gradient)),
                1e-4);
    }
  }
}

}  // namespace
}  // namespace resnet_nodes
