// adaptive_test.cpp: adaptive beside stored gradients: never above its tolerance, from the first pass on.
#include <algorithm>

#include "resnet_nodes/error.h"
#include "tanh_problem.h"

namespace resnet_nodes {
namespace {

using namespace truth;

Outcome stored(const Problem& problem, StageOptions options = {}) {
  options.reconstruction = ReconstructionKind::backprop;
  return run(problem, options);
}

double gradient_error(const Outcome& found, const Outcome& expected) {
  return std::max(relative_error(values(found.gradients), values(expected.gradients)),
                  relative_error(values(found.input_gradient), values(expected.input_gradient)));
}

int64_t most_states(int64_t steps) {
  return std::min<int64_t>(7, static_cast<int64_t>(2 * std::sqrt(static_cast<double>(steps))));
}

void expect_few_states(const StageReport& report) {
  EXPECT_LE(count(report, StateSource::kept), most_states(static_cast<int64_t>(report.steps.size())));
}

// What is decided where figures are there at once: not on a GPU, whose decisions delayed_test.cpp holds.
class AtOnce : public testing::Test {
 protected:
  void SetUp() override {
    if (delayed()) GTEST_SKIP() << "figures arrive late";
  }
};

// Tanh is smooth: its gradient is off by about as much as the state, times the functions' scale.
TEST(Adaptive, KeepsErrorsUnderItsTolerance) {
  for (const double tolerance : {1e-2, 1e-3, 1e-5}) {
    for (const bool smooth : {true, false}) {
      for (const double scale : {1.0, 3.0}) {
        StageOptions options;
        options.tolerance = tolerance;
        const Problem problem = tanh_problem(64, smooth, scale);
        const Outcome outcome = run(problem, options);
        ASSERT_EQ(outcome.report.steps.size(), 64U);
        EXPECT_LE(largest_error(outcome.report), tolerance);
        EXPECT_LE(gradient_error(outcome, stored(problem)), 4 * tolerance) << tolerance << smooth << scale;
      }
    }
  }
}

TEST_F(AtOnce, SpendsEvaluationsOnlyWhereNeeded) {
  const StageReport smooth = run(tanh_problem(64, true), StageOptions()).report;
  EXPECT_LE(smooth.evaluations, 64 * 1.1);
  EXPECT_EQ(count(smooth, StateSource::kept), 1);
  const StageReport rough = run(tanh_problem(64, false), StageOptions()).report;
  EXPECT_LE(rough.evaluations, 64 * 2);
  EXPECT_EQ(count(rough, StateSource::kept), 1);
}

// Random stages, functions up to 64 times larger, where no fixed point leads anywhere: the first pass and those that
// learned from it. A gradient behind ReLU is off by about as much as the square root of the state's error.
TEST(Adaptive, IsNeverAboveItsTolerance) {
  for (const std::string& solver : solver_names()) {
    for (const double scale : {0.5, 1.0, 2.0, 8.0, 64.0}) {
      for (const bool images : {false, true}) {
        for (const int64_t depth : {2, 3, 5, 12}) {
          SCOPED_TRACE(solver + ", scale " + std::to_string(scale) + ", depth " + std::to_string(depth) +
                       (images ? ", images" : ", tanh"));
          const auto seed = static_cast<uint64_t>(scale * 100) + static_cast<uint64_t>(depth);
          const FunctionSpec function =
              images ? tiny_function(4) : FunctionSpec{{linear(8, 8), activation(LayerKind::tanh), linear(8, 8)}};
          const Problem problem = make_problem(std::vector<FunctionSpec>(static_cast<size_t>(depth), function), depth,
                                               images ? Shape{3, 4, 6, 6} : Shape{6, 8}, seed);
          StageOptions options;
          options.solver = solver;
          options.step_size = scale / static_cast<double>(depth);
          const Outcome expected = stored(problem, options);
          const Stage stage(problem.functions, depth, options);
          for (int i = 0; i < 4; ++i) {
            const Outcome found = pass(stage, problem);
            EXPECT_LE(gradient_error(found, expected), 1.5 * std::sqrt(options.tolerance)) << i;
            EXPECT_LE(largest_error(found.report), options.tolerance);
            expect_few_states(found.report);
          }
        }
      }
    }
  }
}

// What all steps need is kept evenly and replayed between: with checkpoint's 2 sqrt(30) states by two evaluations a
// step at most, as there; with the fewer ones that are the default by half of one more.
TEST(Adaptive, IsAtWorstACheckpoint) {
  const Problem problem = tanh_problem(30, false, 8.0);
  StageOptions options;
  options.step_size = 1.0;
  const Outcome expected = stored(problem, options);
  for (const int64_t states : {10, 0}) {
    options.most_states = states;
    const Stage stage(problem.functions, problem.depth, options);
    StageReport report;
    for (int i = 0; i < 4; ++i) {
      const Outcome found = pass(stage, problem);
      EXPECT_LT(gradient_error(found, expected), 1e-6) << i;
      report = found.report;
      expect_few_states(report);
    }
    EXPECT_EQ(count(report, StateSource::found), 0);
    EXPECT_LE(report.evaluations, (states > 0 ? 60 : 75));
  }
}

// One rough step among calm ones: its state is kept, no other.
TEST_F(AtOnce, KeepsTheStepThatItCannotFindAndGivesItUpAgain) {
  const int64_t depth = 40, rough = 25;
  Problem problem = tanh_problem(depth, false, 0.5);
  const Tensor calm = problem.parameters[2 * rough], wild = moved(calm, calm, 99);
  const Stage stage(problem.functions, depth, StageOptions());
  problem.parameters[2 * rough + 1] = moved(problem.parameters[2 * rough + 1], problem.parameters[1], 19);
  problem.parameters[2 * rough] = wild;
  for (int i = 0; i < 3; ++i) EXPECT_LT(gradient_error(pass(stage, problem), stored(problem)), 2e-3);
  const StageReport report = pass(stage, problem).report;
  EXPECT_EQ(report.steps[rough].source, StateSource::kept);
  EXPECT_EQ(count(report, StateSource::kept), 2);
  problem.parameters[2 * rough] = calm, problem.parameters[2 * rough + 1] = problem.parameters[1];
  for (int i = 0; i < 20; ++i) pass(stage, problem);
  EXPECT_EQ(count(pass(stage, problem).report, StateSource::kept), 1);
}

TEST_F(AtOnce, IsSettledWhereFunctionsAreZero) {
  Problem problem = tanh_problem(8, true);
  for (size_t i = 1; i < problem.parameters.size(); i += 2) problem.parameters[i] = constant({kWidth, kWidth}, 0);
  const StageReport report = run(problem, StageOptions()).report;
  EXPECT_EQ(count(report, StateSource::found), 7);
  EXPECT_LT(largest_error(report), 1e-12);
}

TEST_F(AtOnce, RefusesAStateThatIsNotFinite) {
  Problem problem = tanh_problem(6, true);
  problem.x = constant({32, kWidth}, std::numeric_limits<double>::quiet_NaN());
  const Stage stage(problem.functions, problem.depth, StageOptions());
  try {
    pass(stage, problem);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("stage of 6 steps, step 5"), std::string::npos) << error.what();
  }
}

// A narrow state loses in each step what no walk back can find.
TEST_F(AtOnce, KeepsStatesThatAreTooNarrowForItsTolerance) {
  Problem problem = tanh_problem(12, true);
  const auto narrow = [](Tensor& tensor) { tensor = torch::stable::to(tensor, ScalarType::BFloat16); };
  narrow(problem.x), narrow(problem.grad);
  for (Tensor& parameter : problem.parameters) narrow(parameter);
  const Outcome found = run(problem, StageOptions());
  EXPECT_EQ(count(found.report, StateSource::found), 0);
  EXPECT_LT(gradient_error(found, stored(problem)), 1e-2);
}

TEST(Adaptive, GoesOnFromWhatWasLearned) {
  const Problem rough = tanh_problem(20, false, 4.0);
  const Stage stage(rough.functions, 20, StageOptions()), twin(rough.functions, 20, StageOptions());
  for (int i = 0; i < 5; ++i) pass(stage, rough);
  twin.restore_learned(stage.learned());
  for (int i = 0; i < 20; ++i) {
    const Outcome one = pass(stage, rough), other = pass(twin, rough);
    EXPECT_EQ(values(one.gradients), values(other.gradients));
    EXPECT_EQ(one.report.evaluations, other.report.evaluations);
  }
  EXPECT_EQ(stage.learned(), twin.learned());
  std::vector<double> wrong = stage.learned();
  wrong.pop_back();
  EXPECT_THROW(twin.restore_learned(wrong), Error);
  EXPECT_THROW(twin.restore_learned({}), Error);
  EXPECT_EQ(stage.learned(), twin.learned());
  StageOptions other;
  other.reconstruction = ReconstructionKind::corrected;
  const Stage corrected(rough.functions, 20, other);
  EXPECT_TRUE(corrected.learned().empty());
  EXPECT_THROW(corrected.restore_learned(stage.learned()), Error);
}

}  // namespace
}  // namespace resnet_nodes
