// conv_block_test.cpp: the fused residual function in float32 against LibTorch's operators in float64.
#include "fused/conv_block.h"

#include <algorithm>

#include "bfloat16_bounds.h"
#include "fused_truth.h"
#include "resnet_nodes/error.h"
#include "resnet_nodes/runtime.h"
#include "tensors/active_kernels.h"
#include "tensors/describe.h"
#include "tensors/layout.h"

namespace resnet_nodes {
namespace {

using namespace truth;

// Sums of 9 C products, and over the batch, in float32: sqrt(k) u with u = 6e-8, for each of the chain of two
// convolutions and two normalizations and their products, times the depth. A normalization divides by a deviation that
// small batches make small, and its gradient is a difference of numbers greater than itself: times 10.
double bound(const Problem& problem) {
  const auto k = static_cast<double>(9 * problem.x.size(1) + problem.x.size(0) * problem.x.size(2) * problem.x.size(3));
  return 10 * 4 * std::sqrt(k) * 6e-8 * static_cast<double>(problem.depth);
}

std::string description(const Problem& p, uint64_t seed) {
  return "seed " + std::to_string(seed) + ", x " + shape_text(p.x) + ", modes " + std::to_string(p.training[0]) +
         std::to_string(p.training[1]) + ", " + active_kernel_path();
}

TEST(ConvBlock, MatchesOperatorsInFloat64OnRandomShapes) {
  constexpr int64_t kChannels[] = {8, 16, 24, 32, 48};
  Generator generator(3);
  const auto between = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(generator);
  };
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const int64_t channels = kChannels[seed % 5];
    const Shape shape{between(1, 5), channels, between(1, 13), between(1, 13)};
    // Statistics of a few values amplify rounding without bound.
    if (shape[0] * shape[2] * shape[3] < 16) continue;
    FunctionSpec function = tiny_function(channels);
    function.layers[0].bias = between(0, 3) > 0;
    function.layers[1].affine = between(0, 3) > 0;
    function.layers[4].affine = between(0, 3) > 0;
    function.layers[4].track_statistics = between(0, 3) > 0;
    Problem narrow = float32(make_problem({function, function}, 2, shape, seed));
    for (int32_t& mode : narrow.training) mode = between(0, 2) > 0 ? 1 : 0;
    const Problem wide = float64(narrow);
    ASSERT_NE(Stage(narrow.functions, 2, StageOptions()).function_path(0, narrow.x).find("fused"), std::string::npos);
    const StageOptions options = options_of(ReconstructionKind::backprop);
    expect_same_outcome(run(narrow, options), run(wide, options), bound(narrow), description(narrow, seed));
  }
}

// conv - norm, and so on, with ReLUs between and, where it is wanted, in front.
FunctionSpec chain_function(bool starts_with_relu, const std::vector<ConvUnit>& units) {
  FunctionSpec function;
  for (const ConvUnit& unit : units) {
    if (starts_with_relu || !function.layers.empty()) function.layers.push_back(activation(LayerKind::relu));
    function.layers.push_back(conv(unit.in, unit.out, unit.taps == 9 ? 3 : 1, 1, 1, unit.in % 3 == 0));
    function.layers.push_back(batch_norm(unit.out));
  }
  return function;
}

// Chains, and sizes on either side of what decides how a batch is cut: images of one pixel, several images to a group,
// sums by parts and by channels, in one span and in several; small tiles, and large ones that fill an image or do not
// or have short ones beside.
struct ChainCase {
  std::string name;
  bool starts_with_relu;
  std::vector<ConvUnit> units;
  Shape shape;
};
std::vector<ChainCase> chain_cases() {
  return {{"basic", true, {{24, 24, 9}, {24, 24, 9}}, {5, 24, 9, 7}},
          {"basic in large tiles", true, {{24, 24, 9}, {24, 24, 9}}, {4, 24, 27, 30}},
          {"bottleneck in large tiles", true, {{64, 32, 1}, {32, 32, 9}, {32, 64, 1}}, {70, 64, 4, 8}},
          {"large tiles by channels", false, {{136, 136, 9}}, {6, 136, 19, 16}},
          {"basic of 256 channels", true, {{256, 256, 9}, {256, 256, 9}}, {3, 256, 4, 4}},
          {"bottleneck", true, {{64, 16, 1}, {16, 16, 9}, {16, 64, 1}}, {7, 64, 8, 6}},
          {"bottleneck of many groups", true, {{64, 32, 1}, {32, 32, 9}, {32, 64, 1}}, {70, 64, 4, 4}},
          {"bottleneck by channels", true, {{512, 144, 1}, {144, 144, 9}, {144, 512, 1}}, {4, 512, 5, 4}},
          {"bottleneck in spans", true, {{192, 144, 1}, {144, 144, 9}, {144, 192, 1}}, {5, 192, 17, 16}},
          {"odd number of blocks, by channels", false, {{152, 168, 9}, {168, 152, 9}}, {3, 152, 6, 5}},
          {"2 x 2 pixels", true, {{64, 32, 1}, {32, 32, 9}, {32, 64, 1}}, {40, 64, 2, 2}},
          {"one pixel", true, {{64, 32, 1}, {32, 32, 9}, {32, 64, 1}}, {100, 64, 1, 1}},
          {"one pixel by channels", true, {{160, 144, 9}, {144, 160, 1}}, {90, 160, 1, 1}},
          {"one column", false, {{16, 16, 9}, {16, 16, 9}}, {9, 16, 6, 1}},
          {"one unit", true, {{32, 32, 9}}, {6, 32, 5, 5}},
          {"four units", false, {{16, 48, 1}, {48, 8, 9}, {8, 8, 1}, {8, 16, 9}}, {6, 16, 5, 6}},
          {"short tiles", true, {{16, 48, 9}, {48, 16, 9}}, {6, 16, 10, 10}},
          {"short tiles by channels", false, {{136, 136, 9}}, {24, 136, 6, 10}}};
}

bool is_fused_in_bfloat16(const ChainCase& one) {
  return active_kernels().conv16_bfloat16 != nullptr && ConvChain{one.starts_with_relu, one.units}.fills_blocks_of(16);
}

StageOptions in_bfloat16() {
  StageOptions options = options_of(ReconstructionKind::backprop);
  options.compute_type = ComputeType::bfloat16;
  return options;
}

TEST(ConvBlock, ChainsOfAllKindsMatchOperatorsInFloat64) {
  uint64_t seed = 0;
  for (const ChainCase& one : chain_cases()) {
    for (const int32_t mode : {0, 1, 2}) {
      Problem narrow = float32(make_problem({chain_function(one.starts_with_relu, one.units)}, 1, one.shape, ++seed));
      // All of the batch, all saved, and in turns.
      for (size_t i = 0; i < narrow.training.size(); ++i) narrow.training[i] = mode < 2 ? 1 - mode : i % 2 == 0 ? 1 : 0;
      const Stage stage(narrow.functions, 1, StageOptions());
      ASSERT_NE(stage.function_path(0, narrow.x).find("fused"), std::string::npos) << one.name;
      const StageOptions options = options_of(ReconstructionKind::backprop);
      int64_t channels = 0;
      for (const ConvUnit& unit : one.units) channels = std::max({channels, unit.in, unit.out});
      const double allowed =
          10 * 4 *
          std::sqrt(9.0 * static_cast<double>(channels) + static_cast<double>(narrow.x.numel() / narrow.x.size(1))) *
          6e-8;
      expect_same_outcome(run(narrow, options), run(float64(narrow), options), allowed,
                          one.name + ", mode " + std::to_string(mode));
    }
  }
}

// Winograd's transforms round once more than BFloat16Bounds has it.
TEST(ConvBlock, ChainsInBFloat16MatchOperatorsInFloat64) {
  uint64_t seed = 0;
  for (const ChainCase& one : chain_cases()) {
    const FunctionSpec function = chain_function(one.starts_with_relu, one.units);
    for (const int32_t mode : {0, 1}) {
      Problem narrow = float32(make_problem({function}, 1, one.shape, ++seed));
      std::fill(narrow.training.begin(), narrow.training.end(), 1 - mode);
      const Stage stage(narrow.functions, 1, in_bfloat16());
      EXPECT_EQ(stage.function_path(0, narrow.x).find("fused") != std::string::npos, is_fused_in_bfloat16(one))
          << one.name;
      const Outcome found = run(narrow, in_bfloat16());
      const Outcome expected = run(float64(narrow), options_of(ReconstructionKind::backprop));
      const BFloat16Bounds bounds(function);
      const std::string what = one.name + ", mode " + std::to_string(mode);
      EXPECT_LT(relative_error(values(found.output), values(expected.output)), 2 * bounds.output) << what;
      EXPECT_LT(relative_error(values(found.input_gradient), values(expected.input_gradient)), bounds.gradient) << what;
      EXPECT_LT(relative_error(values(found.gradients), values(expected.gradients)), bounds.gradient) << what;
    }
  }
}

TEST(ConvBlock, ChainsGiveTheSameBitsOnOneThread) {
  for (const ChainCase& one : chain_cases()) {
    const FunctionSpec function = chain_function(one.starts_with_relu, one.units);
    const Problem problem = float32(make_problem({function, function}, 2, one.shape, 7));
    expect_same_bits_on_one_thread(problem);
    if (is_fused_in_bfloat16(one)) expect_same_bits_on_one_thread(problem, in_bfloat16());
  }
}

TEST(ConvBlock, WeightsMayLieInAnyOrder) {
  for (const ChainCase& one : chain_cases()) {
    const Problem in_rows = float32(make_problem({chain_function(one.starts_with_relu, one.units)}, 1, one.shape, 23));
    Problem others = in_rows;
    for (Tensor& tensor : others.parameters) {
      if (tensor.dim() == 4) tensor = state_layout(tensor);
    }
    const StageOptions options = options_of(ReconstructionKind::backprop);
    const Outcome found = run(others, options), expected = run(in_rows, options);
    EXPECT_EQ(values(found.output), values(expected.output)) << one.name;
    EXPECT_EQ(values(found.input_gradient), values(expected.input_gradient)) << one.name;
    EXPECT_EQ(values(found.gradients), values(expected.gradients)) << one.name;
  }
}

TEST(ConvBlock, ChainsReconstruct) {
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    for (const char* name : {"bottleneck", "bottleneck by channels", "basic"}) {
      const std::vector<ChainCase> cases = chain_cases();
      const ChainCase& one =
          *std::find_if(cases.begin(), cases.end(), [&](const ChainCase& other) { return other.name == name; });
      const FunctionSpec function = chain_function(one.starts_with_relu, one.units);
      const Problem narrow = float32(make_problem(std::vector<FunctionSpec>(4, function), 4, one.shape, 5));
      StageOptions options = options_of(plan.kind);
      options.step_size = 1e-3;
      options.count = plan.kind == ReconstructionKind::corrected ? 3 : 0;
      // A reconstruction is off by more than rounding, and so flips signs behind ReLUs: the bound is that of
      // `adaptive`.
      expect_same_outcome(run(narrow, options), run(float64(narrow), options), 2e-2, plan.name + ", " + name);
    }
  }
}

TEST(ConvBlock, FrozenAndGivenGradientsOfChainsAreThoseOfAFullRun) {
  for (const ChainCase& one : chain_cases()) {
    const Problem problem = float32(make_problem({chain_function(one.starts_with_relu, one.units)}, 1, one.shape, 13));
    expect_frozen_and_given_as_in_full(problem, [](const Tensor& zeros) { return zeros; });
    if (!is_fused_in_bfloat16(one)) continue;
    expect_frozen_and_given_as_in_full(
        problem, [](const Tensor& zeros) { return zeros; }, in_bfloat16());
  }
}

TEST(ConvBlock, ReconstructsAsOperatorsDo) {
  for (const std::string& solver : solver_names()) {
    for (const ReconstructionPlan& plan : reconstruction_plans()) {
      for (const int variant : {0, 1, 2, 3}) {
        const bool shared = (variant & 1) != 0, frozen = (variant & 2) != 0;
        // Where a mask flips between two reconstructions, their gradients differ by more than rounding: weights small
        // enough that all find the same states to float32's precision.
        Problem problem =
            make_problem(std::vector<FunctionSpec>(shared ? 1 : 4, tiny_function(16)), 4, {3, 16, 7, 5}, 5);
        // The first normalization of a function, then the second, and so on.
        for (size_t i = 0; frozen && i < problem.training.size(); ++i) problem.training[i] = i % 3 == 0 ? 0 : 1;
        StageOptions options = options_of(plan.kind, solver);
        options.step_size = 1e-3;
        options.count = plan.kind == ReconstructionKind::corrected ? 3 : 0;
        const Problem narrow = float32(problem);
        const Outcome found = run(narrow, options), expected = run(float64(narrow), options);
        const std::string what = plan.name + ", " + solver + (shared ? ", shared" : "") + (frozen ? ", frozen" : "");
        expect_same_outcome(found, expected, 10 * bound(narrow), what);
        if (plan.kind != ReconstructionKind::adaptive) {
          EXPECT_EQ(found.report.evaluations, expected.report.evaluations) << what;
        }
      }
    }
  }
}

TEST(ConvBlock, GivesTheSameBitsOnOneThread) {
  const Problem problem = float32(make_problem({tiny_function(16), tiny_function(16)}, 2, {37, 16, 6, 5}, 7));
  expect_same_bits_on_one_thread(problem);
}

TEST(ConvBlock, LastNormalizationOfZerosPassesTheStateThrough) {
  Problem problem = make_problem(std::vector<FunctionSpec>(8, tiny_function(8)), 8, {4, 8, 5, 5}, 11);
  for (size_t i = 0; i < problem.parameters.size(); i += 8) {
    problem.parameters[i + 6] = constant({8}, 0);
    problem.parameters[i + 7] = constant({8}, 0);
  }
  const Problem narrow = float32(problem);
  const Outcome found = run(narrow, StageOptions()), expected = run(float64(narrow), StageOptions());
  EXPECT_EQ(values(found.output), values(narrow.x));
  expect_same_outcome(found, expected, bound(narrow), "zero weights");
  // Three predictions by evaluation, then none: the increments foreseen are exact.
  EXPECT_EQ(found.report.evaluations, 8 + 3);
  EXPECT_EQ(count(found.report, StateSource::found), 7);
}

TEST(ConvBlock, FrozenAndGivenGradientsAreThoseOfAFullRun) {
  const Problem problem = float32(make_problem({tiny_function(16)}, 3, {4, 16, 5, 6}, 13));
  expect_frozen_and_given_as_in_full(problem, [](const Tensor& zeros) { return zeros; });
}

TEST(ConvBlock, RunningStatisticsAreThoseOfOperators) {
  const Problem narrow = float32(make_problem({tiny_function(16)}, 2, {5, 16, 6, 7}, 17));
  const Problem wide = float64(narrow);
  const auto after = [](const Problem& p) {
    const Stage stage(p.functions, p.depth, StageOptions());
    const std::vector<Tensor> buffers = copies(p.buffers);
    const auto context = stage.forward(p.x, p.parameters, buffers, p.training);
    stage.backward(*context, p.grad, std::vector<int32_t>(p.parameters.size(), 1), {});
    return values(buffers);
  };
  EXPECT_LT(relative_error(after(narrow), after(wide)), bound(narrow));
}

TEST(ConvBlock, IsTakenWhereItFitsAndCanBeTurnedOff) {
  Generator generator(1);
  const Tensor wide = normal({2, 16, 6, 6}, generator), x = torch::stable::to(wide, ScalarType::Float);
  const auto path = [](const FunctionSpec& function, const Tensor& state) {
    return Stage({function}, 1, StageOptions()).function_path(0, state);
  };
  {
    const Environment on("RESNET_NODES_FUSED", "on");
    EXPECT_EQ(path(tiny_function(16), x), "fused conv3x3-conv3x3, 16 channels, " + active_kernel_path());
    EXPECT_EQ(path(tiny_function(16), wide), "operators, channels_last");
    EXPECT_EQ(path(tiny_function(12), x), "operators, channels_last");
    EXPECT_EQ(path({{activation(LayerKind::tanh)}}, x), "operators, channels_last");
    FunctionSpec dilated = tiny_function(16);
    dilated.layers[0] = conv(16, 16, 3, 2);
    EXPECT_EQ(path(dilated, x), "operators, channels_last");
    const bool narrow = active_kernels().conv16_bfloat16 != nullptr;
    EXPECT_EQ(Stage({tiny_function(16)}, 1, in_bfloat16()).function_path(0, x),
              narrow ? "fused conv3x3-conv3x3, 16 channels, " + active_kernel_path() + ", bfloat16"
                     : "operators, channels_last, bfloat16");
    EXPECT_EQ(path(bottleneck(16, 8), x), "fused conv1x1-conv3x3-conv1x1, 16/8 channels, " + active_kernel_path());
  }
  const Problem problem = float32(make_problem({tiny_function(16)}, 3, {4, 16, 5, 6}, 19));
  const StageOptions options = options_of(ReconstructionKind::backprop);
  const Environment off("RESNET_NODES_FUSED", "off");
  EXPECT_EQ(path(tiny_function(16), x), "operators, channels_last");
  expect_same_outcome(run(problem, options), run(float64(problem), options), bound(problem), "operators");
  const Environment wrong("RESNET_NODES_FUSED", "maybe");
  EXPECT_THROW(Stage({tiny_function(16)}, 1, StageOptions()), Error);
}

}  // namespace
}  // namespace resnet_nodes
