// delayed_test.cpp: adaptive by what the passes before have found, as on a GPU; here on CPU tensors.
#include "tanh_problem.h"
#include "walk/adaptive/learned.h"

namespace resnet_nodes {
namespace {

using namespace truth;

class Delayed : public testing::Test {
 protected:
  Delayed() { delay_on_cpu(true); }
  ~Delayed() override { delay_on_cpu(delays_forced); }

  static Outcome stored(const Problem& problem, StageOptions options = {}) {
    options.reconstruction = ReconstructionKind::backprop;
    return run(problem, options);
  }
  static double gradient_error(const Outcome& found, const Outcome& expected) {
    return relative_error(values(found.gradients), values(expected.gradients));
  }
};

// As checkpoint: nothing is known of the steps yet.
TEST_F(Delayed, FirstPassOfAShapeIsExact) {
  for (const FunctionSpec& function : {tiny_function(4), tiny_function(8)}) {
    const int64_t channels = function.layers[0].in_features;
    Problem problem = make_problem(std::vector<FunctionSpec>(16, function), 16, {3, channels, 6, 6}, 31);
    const Stage stage(problem.functions, 16, StageOptions());
    Generator generator(2);
    for (const int64_t batch : {3, 2}) {
      problem.x = normal({batch, channels, 6, 6}, generator), problem.grad = normal({batch, channels, 6, 6}, generator);
      const Outcome found = pass(stage, problem);
      EXPECT_LT(gradient_error(found, stored(problem)), 1e-9);
      EXPECT_EQ(count(found.report, StateSource::found), 0);
      EXPECT_EQ(count(found.report, StateSource::kept), 3);
    }
  }
}

// A pass that begins before the figures of the first are there knows no more than that one did.
TEST_F(Delayed, PassesAreExactUntilFiguresHaveArrived) {
  const Problem problem = tanh_problem(64, true);
  const Stage stage(problem.functions, problem.depth, StageOptions());
  const Outcome expected = stored(problem);
  std::vector<std::unique_ptr<StageContext>> contexts;
  for (int i = 0; i < 3; ++i) contexts.push_back(stage.forward(problem.x, problem.parameters, {}, {}));
  for (const auto& context : contexts) {
    stage.backward(*context, problem.grad, std::vector<int32_t>(problem.parameters.size(), 1), {});
    EXPECT_EQ(count(context->report(), StateSource::found), 0);
    EXPECT_LT(relative_error(values(context->parameter_gradients()), values(expected.gradients)), 1e-9);
  }
  EXPECT_GT(count(pass(stage, problem).report, StateSource::found), 0);
}

TEST_F(Delayed, StaysUnderItsToleranceFromThereOn) {
  for (const double tolerance : {1e-2, 1e-3, 1e-5}) {
    for (const bool smooth : {true, false}) {
      const Problem problem = tanh_problem(16, smooth, 1.2);
      StageOptions options;
      options.tolerance = tolerance;
      const Stage stage(problem.functions, problem.depth, options);
      const Outcome expected = stored(problem);
      for (int i = 0; i < 40; ++i) {
        const Outcome found = pass(stage, problem);
        EXPECT_LE(largest_error(found.report), tolerance) << i;
        EXPECT_LE(gradient_error(found, expected), 2 * tolerance) << i;
      }
    }
  }
}

TEST_F(Delayed, ReleasesStepsAndLearnsToExtrapolate) {
  const Problem problem = tanh_problem(64, true);
  const Stage stage(problem.functions, problem.depth, StageOptions());
  pass(stage, problem);
  const StageReport second = pass(stage, problem).report;
  EXPECT_LE(count(second, StateSource::kept), 3);
  EXPECT_LE(second.evaluations, 2 * 64);
  StageReport later;
  for (int i = 0; i < 12; ++i) later = pass(stage, problem).report;
  EXPECT_LE(later.evaluations, 64 + 4);
}

TEST_F(Delayed, FollowsWeightsThatChange) {
  const Problem calm = tanh_problem(16, false, 0.2), rough = tanh_problem(16, false, 4);
  StageOptions options;
  const Stage stage(calm.functions, 16, options);
  for (int i = 0; i < 6; ++i) pass(stage, calm);
  const Outcome surprised = pass(stage, rough);
  EXPECT_GT(largest_error(surprised.report), options.tolerance) << "and it says so";
  const Outcome expected = stored(rough);
  for (int i = 0; i < 6; ++i) {
    const Outcome next = pass(stage, rough);
    EXPECT_LE(largest_error(next.report), options.tolerance);
    EXPECT_LE(gradient_error(next, expected), 2 * options.tolerance);
  }
  const int64_t kept = count(pass(stage, rough).report, StateSource::kept);
  EXPECT_GT(kept, 1);
  for (int i = 0; i < 40; ++i) pass(stage, calm);
  EXPECT_LT(count(pass(stage, calm).report, StateSource::kept), kept);
}

// At this tolerance a policy that takes an iteration away as soon as it can fails every second pass. In the first ones
// most steps are replayed, twice at most.
TEST_F(Delayed, ComesToRestOnRoughWeights) {
  const Problem problem = tanh_problem(64, false, 1.2);
  StageOptions options;
  options.tolerance = 0.01;
  const Stage stage(problem.functions, 64, options);
  for (int i = 0; i < 100; ++i) {
    const StageReport report = pass(stage, problem).report;
    EXPECT_LE(largest_error(report), options.tolerance) << i;
    EXPECT_LE(report.evaluations, (i > 1 ? 2 : 4) * 64) << i;
  }
}

// f(x) = 3 x, h = 1: the fixed point repels.
TEST_F(Delayed, KeepsWhatItCannotFind) {
  Problem problem = make_problem({FunctionSpec{{linear(4, 4, false)}}}, 5, {2, 4}, 3);
  problem.parameters = {diagonal(4, 3)};
  StageOptions options;
  options.step_size = 1.0;
  const Stage stage(problem.functions, 5, options);
  const Outcome expected = stored(problem, options);
  for (int i = 0; i < 40; ++i) EXPECT_LT(gradient_error(pass(stage, problem), expected), 1e-12);
}

TEST_F(Delayed, RoundingIsSettled) {
  Problem problem = tanh_problem(8, true);
  for (size_t i = 1; i < problem.parameters.size(); i += 2) problem.parameters[i] = constant({kWidth, kWidth}, 0);
  const Stage stage(problem.functions, 8, StageOptions());
  pass(stage, problem);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(count(pass(stage, problem).report, StateSource::kept), 1);
}

TEST_F(Delayed, GoesOnFromWhatWasLearned) {
  const Problem rough = tanh_problem(20, false, 1.5);
  const Stage stage(rough.functions, 20, StageOptions()), twin(rough.functions, 20, StageOptions());
  for (int i = 0; i < 5; ++i) pass(stage, rough);
  twin.restore_learned(stage.learned());
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(values(pass(stage, rough).gradients), values(pass(twin, rough).gradients));
    EXPECT_EQ(stage.learned(), twin.learned());
  }
}

TEST_F(Delayed, OtherKindsReportTheSame) {
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    if (plan.kind == ReconstructionKind::adaptive) continue;
    const Problem problem = tanh_problem(8, true);
    StageOptions options;
    options.reconstruction = plan.kind;
    options.keep_input = true;
    delay_on_cpu(false);
    const Outcome expected = run(problem, options);
    delay_on_cpu(true);
    const Outcome found = run(problem, options);
    EXPECT_LT(gradient_error(found, expected), 1e-12) << plan.name;
    ASSERT_EQ(found.report.steps.size(), expected.report.steps.size()) << plan.name;
    for (size_t n = 0; n < found.report.steps.size(); ++n) {
      EXPECT_NEAR(found.report.steps[n].error, expected.report.steps[n].error, 1e-12) << plan.name;
    }
    EXPECT_NEAR(found.report.reconstruction_error, expected.report.reconstruction_error, 1e-12) << plan.name;
  }
}

}  // namespace
}  // namespace resnet_nodes
