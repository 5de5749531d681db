// mlp_test.cpp: the fused function Linear - activation - Linear in float32 against LibTorch's operators in
// float64.
#include "fused/mlp.h"

#include "fused_truth.h"
#include "resnet_nodes/runtime.h"
#include "tensors/describe.h"

namespace resnet_nodes {
namespace {

using namespace truth;

FunctionSpec narrow_function(int64_t width, int64_t hidden, LayerKind kind, bool in_bias = true, bool out_bias = true) {
  return {{linear(width, hidden, in_bias), activation(kind), linear(hidden, width, out_bias)}};
}

// Sums of d and k products, and over the rows, in float32: sqrt(n) u with u = 6e-8 for each of the two layers and their
// products, times the depth; times 10 for the chain of them.
double bound(const Problem& problem) {
  const auto n = static_cast<double>(problem.x.numel() / problem.x.size(0) + problem.x.size(0) + 128);
  return 10 * std::sqrt(n) * 6e-8 * static_cast<double>(problem.depth);
}

bool is_fused(const Problem& p) {
  return Stage(p.functions, p.depth, StageOptions()).function_path(0, p.x).starts_with("fused linear-");
}

// The same numbers with gaps between them, rows or columns first, one float behind what is aligned.
Tensor with_gaps(const Tensor& tensor, bool transposed) {
  Shape sizes(tensor.sizes().begin(), tensor.sizes().end());
  if (transposed) std::swap(sizes.front(), sizes.back());
  for (int64_t& size : sizes) size += 3;
  Tensor view = torch::stable::empty(sizes, tensor.scalar_type());
  if (transposed) view = torch::stable::transpose(view, 0, tensor.dim() - 1);
  for (int64_t i = 0; i < tensor.dim(); ++i) view = torch::stable::narrow(view, i, 1, tensor.size(i));
  torch::stable::copy_(view, tensor);
  return view;
}

TEST(Mlp, MatchesOperatorsInFloat64OnRandomShapes) {
  Generator generator(3);
  const auto between = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(generator);
  };
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const int64_t width = between(16, 140), hidden = between(1, 40);
    const LayerKind kind = seed % 3 == 0 ? LayerKind::relu : LayerKind::tanh;
    const FunctionSpec function = narrow_function(width, hidden, kind, between(0, 3) > 0, between(0, 3) > 0);
    const Shape shape = seed % 4 == 0 ? Shape{between(1, 5), between(1, 40), width} : Shape{between(1, 200), width};
    Problem narrow = float32(make_problem({function, function}, 2, shape, seed));
    const Problem wide = float64(narrow);
    if (seed % 5 == 0) {
      for (Tensor& parameter : narrow.parameters) parameter = with_gaps(parameter, seed % 2 == 0);
      narrow.x = with_gaps(narrow.x, seed % 2 == 0);
      narrow.grad = with_gaps(narrow.grad, seed % 2 == 0);
    }
    ASSERT_TRUE(is_fused(narrow));
    const StageOptions options = options_of(ReconstructionKind::backprop);
    const Outcome found = run(narrow, options), expected = run(wide, options);
    expect_same_outcome(found, expected, bound(narrow),
                        "seed " + std::to_string(seed) + ", x " + shape_text(narrow.x) + ", " + active_kernel_path());
  }
}

TEST(Mlp, ReconstructsAsOperatorsDo) {
  for (const std::string& solver : solver_names()) {
    for (const ReconstructionPlan& plan : reconstruction_plans()) {
      for (const bool shared : {false, true}) {
        // Smooth, so that states found to float32's precision have gradients as close.
        const FunctionSpec function = narrow_function(83, 8, LayerKind::tanh);
        const Problem narrow =
            float32(make_problem(std::vector<FunctionSpec>(shared ? 1 : 5, function), 5, {61, 83}, 5));
        StageOptions options = options_of(plan.kind, solver);
        options.step_size = 1e-3;
        options.count = plan.kind == ReconstructionKind::corrected ? 3 : 0;
        const Outcome found = run(narrow, options), expected = run(float64(narrow), options);
        const std::string what = plan.name + ", " + solver + (shared ? ", shared" : "");
        expect_same_outcome(found, expected, bound(narrow), what);
        if (plan.kind != ReconstructionKind::adaptive) {
          EXPECT_EQ(found.report.evaluations, expected.report.evaluations) << what;
        }
      }
    }
  }
}

// At a step of 1/N the errors are far above rounding, and both types must see the same.
TEST(Mlp, ErrorsAreThoseOfOperators) {
  const Problem narrow = float32(make_problem({narrow_function(70, 6, LayerKind::tanh)}, 8, {53, 70}, 9));
  StageOptions options = options_of(ReconstructionKind::corrected);
  const Outcome found = run(narrow, options), expected = run(float64(narrow), options);
  ASSERT_EQ(found.report.steps.size(), 8u);
  for (size_t n = 0; n < 8; ++n) {
    const double error = expected.report.steps[n].error;
    EXPECT_GT(error, 1e-6);
    EXPECT_NEAR(found.report.steps[n].error, error, 1e-2 * error) << n;
  }
}

TEST(Mlp, GivesTheSameBitsOnOneThread) {
  const Problem problem = float32(make_problem({narrow_function(50, 7, LayerKind::tanh)}, 3, {777, 50}, 7));
  expect_same_bits_on_one_thread(problem);
}

TEST(Mlp, FrozenAndGivenGradientsAreThoseOfAFullRun) {
  const Problem problem = float32(make_problem({narrow_function(37, 5, LayerKind::relu)}, 3, {29, 37}, 13));
  // Not dense: .grad may be a view of anything.
  expect_frozen_and_given_as_in_full(problem, [](const Tensor& zeros) { return with_gaps(zeros, true); });
}

TEST(Mlp, IsTakenWhereItFitsAndCanBeTurnedOff) {
  Generator generator(1);
  const Tensor wide = normal({6, 20}, generator), x = torch::stable::to(wide, ScalarType::Float);
  const auto path = [](const FunctionSpec& function, const Tensor& state, StageOptions options = {}) {
    return Stage({function}, 1, options).function_path(0, state);
  };
  const FunctionSpec tanh = narrow_function(20, 6, LayerKind::tanh);
  {
    const Environment on("RESNET_NODES_FUSED", "on");
    EXPECT_EQ(path(tanh, x), "fused linear-tanh-linear, 6 hidden, " + active_kernel_path());
    EXPECT_EQ(path(narrow_function(20, 3, LayerKind::relu), x),
              "fused linear-relu-linear, 3 hidden, " + active_kernel_path());
    EXPECT_EQ(path(tanh, wide), "operators");
    EXPECT_EQ(path(narrow_function(20, 6, LayerKind::gelu), x), "operators");
    EXPECT_EQ(path(narrow_function(20, 129, LayerKind::tanh), x), "operators");
    EXPECT_EQ(path({{linear(20, 20), activation(LayerKind::tanh)}}, x), "operators");
    const Tensor short_rows = torch::stable::full(Shape{6, 15}, 1.0, ScalarType::Float);
    EXPECT_EQ(path(narrow_function(15, 6, LayerKind::tanh), short_rows), "operators");
    StageOptions mixed;
    mixed.compute_type = ComputeType::bfloat16;
    EXPECT_EQ(path(tanh, x, mixed), "operators, bfloat16");
  }
  const Problem problem = float32(make_problem({tanh}, 3, {9, 20}, 19));
  const StageOptions options = options_of(ReconstructionKind::backprop);
  const Environment off("RESNET_NODES_FUSED", "off");
  EXPECT_EQ(path(tanh, x), "operators");
  expect_same_outcome(run(problem, options), run(float64(problem), options), bound(problem), "operators");
}

}  // namespace
}  // namespace resnet_nodes
