// adaptive_test.cpp: adaptive by what the passes before have found, as on a GPU; here on CPU tensors.
#include <algorithm>

#include "truth.h"
#include "walk/adaptive/learned.h"

namespace resnet_nodes {
namespace {

using namespace truth;

class Delay {
 public:
  Delay() { delay_on_cpu(true); }
  ~Delay() { delay_on_cpu(false); }
  Delay(const Delay&) = delete;
  Delay& operator=(const Delay&) = delete;
};

Outcome stored(const Problem& problem) {
  StageOptions options;
  options.reconstruction = ReconstructionKind::backprop;
  return run(problem, options);
}

double largest(const std::vector<double>& values) { return *std::max_element(values.begin(), values.end()); }

// Weights of one curve in depth (smooth) or independent ones.
Problem problem_of(int64_t depth, bool smooth, double scale) {
  Problem problem = make_problem(
      std::vector<FunctionSpec>(static_cast<size_t>(depth),
                                FunctionSpec{{linear(16, 16), activation(LayerKind::tanh), linear(16, 16)}}),
      depth, {8, 16}, 21);
  for (size_t i = 0; i < problem.parameters.size(); ++i) {
    const Tensor& from = problem.parameters[smooth ? i % 4 : i];
    problem.parameters[i] = moved(constant(Shape(from.sizes().begin(), from.sizes().end()), 0), from, scale);
  }
  return problem;
}

TEST(Delayed, FirstPassIsCorrected) {
  for (const FunctionSpec& function : {tiny_function(4), tiny_function(8)}) {
    const int64_t channels = function.layers[0].in_features;
    Problem problem = make_problem(std::vector<FunctionSpec>(6, function), 6, {3, channels, 6, 6}, 31);
    StageOptions options;
    const Stage stage(problem.functions, 6, options);
    options.reconstruction = ReconstructionKind::corrected;
    const Outcome expected = run(problem, options);
    const Delay delay;
    const Outcome found = pass(stage, problem);
    // The same arithmetic; LibTorch's sums on a GPU may take another order each time.
    EXPECT_LT(relative_error(values(found.gradients), values(expected.gradients)), 1e-12);
    EXPECT_LT(relative_error(values(found.input_gradient), values(expected.input_gradient)), 1e-12);
    EXPECT_EQ(found.report.evaluations, expected.report.evaluations);
    for (size_t n = 0; n < 6; ++n) EXPECT_NEAR(found.report.residuals[n], expected.report.residuals[n], 1e-12);
  }
}

TEST(Delayed, ComesUnderItsToleranceInAFewPasses) {
  for (const double tolerance : {0.1, 0.01, 0.001}) {
    for (const bool smooth : {true, false}) {
      const Problem problem = problem_of(16, smooth, 1.2);
      StageOptions options;
      options.tolerance = tolerance;
      const Stage stage(problem.functions, problem.depth, options);
      const Delay delay;
      Outcome last;
      for (int i = 0; i < 12; ++i) last = pass(stage, problem);
      EXPECT_LE(largest(last.report.residuals), tolerance);
      EXPECT_TRUE(last.report.failed_steps.empty());
      // The state is off by at most the residual times an increment h |f|, once more times h Lip(f) after the update:
      // what the gradient sees is of the residual's size times h.
      EXPECT_LT(relative_error(values(last.gradients), values(stored(problem).gradients)), tolerance);
    }
  }
}

TEST(Delayed, LearnsToExtrapolateWhereThatHolds) {
  const Problem problem = problem_of(64, true, 1.0);
  const Stage stage(problem.functions, problem.depth, StageOptions());
  const Delay delay;
  EXPECT_EQ(pass(stage, problem).report.evaluations, 2 * 64);
  EXPECT_EQ(pass(stage, problem).report.evaluations, 64 + 2);
}

TEST(Delayed, FollowsWeightsThatChange) {
  StageOptions options;
  options.tolerance = 0.01;
  const Problem calm = problem_of(16, true, 0.5), rough = problem_of(16, false, 1.5);
  const Stage stage(calm.functions, 16, options);
  const Delay delay;
  for (int i = 0; i < 6; ++i) pass(stage, calm);
  const Outcome surprised = pass(stage, rough);
  EXPECT_GT(largest(surprised.report.residuals), options.tolerance);
  EXPECT_FALSE(surprised.report.failed_steps.empty());
  Outcome last;
  for (int i = 0; i < 10; ++i) last = pass(stage, rough);
  EXPECT_LE(largest(last.report.residuals), options.tolerance);
  const int64_t dear = last.report.evaluations;
  for (int i = 0; i < 20; ++i) last = pass(stage, calm);
  EXPECT_LE(largest(last.report.residuals), options.tolerance);
  EXPECT_LT(last.report.evaluations, dear);
}

// f(x) = 3 x, h = 1, as in reconstruction_test.cpp: from the second pass on the walk's states stay within the output's
// size, and every step is reported.
TEST(Delayed, KeepsStillWhereTheFixedPointRepels) {
  Problem problem = make_problem({FunctionSpec{{linear(4, 4, false)}}}, 5, {2, 4}, 3);
  problem.parameters = {diagonal(4, 3)};
  StageOptions options;
  options.step_size = 1.0;
  options.keep_input = true;
  const Stage stage(problem.functions, 5, options);
  const Delay delay;
  EXPECT_EQ(pass(stage, problem).report.failed_steps.size(), 5u);
  const Outcome second = pass(stage, problem);
  EXPECT_EQ(second.report.failed_steps.size(), 5u);
  EXPECT_LE(second.report.reconstruction_error, 4 * std::pow(4.0, 5));
}

TEST(Delayed, RoundingIsSettled) {
  Problem problem = problem_of(8, true, 1.0);
  for (size_t i = 2; i < problem.parameters.size(); i += 4) problem.parameters[i] = constant({16, 16}, 0);
  for (size_t i = 3; i < problem.parameters.size(); i += 4) problem.parameters[i] = constant({16}, 0);
  const Stage stage(problem.functions, 8, StageOptions());
  const Delay delay;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(pass(stage, problem).report.failed_steps.empty());
}

TEST(Delayed, OtherKindsReportTheSame) {
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    if (plan.kind == ReconstructionKind::adaptive) continue;
    const Problem problem = problem_of(8, true, 1.0);
    StageOptions options;
    options.reconstruction = plan.kind;
    options.keep_input = true;
    const Outcome expected = run(problem, options);
    const Delay delay;
    const Outcome found = run(problem, options);
    EXPECT_LT(relative_error(values(found.gradients), values(expected.gradients)), 1e-12) << plan.name;
    ASSERT_EQ(found.report.residuals.size(), expected.report.residuals.size()) << plan.name;
    for (size_t n = 0; n < found.report.residuals.size(); ++n) {
      EXPECT_NEAR(found.report.residuals[n], expected.report.residuals[n], 1e-12) << plan.name;
    }
    EXPECT_NEAR(found.report.reconstruction_error, expected.report.reconstruction_error, 1e-12) << plan.name;
  }
}

}  // namespace
}  // namespace resnet_nodes
