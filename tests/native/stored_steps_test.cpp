// stored_steps_test.cpp: the last steps store their tapes, and the others are had by any method.
#include <algorithm>

#include "fused_truth.h"
#include "resnet_nodes/error.h"
#include "tanh_problem.h"

namespace resnet_nodes {
namespace {

using namespace truth;

struct Row {
  std::string name;
  Problem problem;
};

std::vector<Row> rows() {
  return {
      {"linear-tanh", tanh_problem(9, false, 0.7)},
      {"conv-norm-relu", make_problem(std::vector<FunctionSpec>(9, tiny_function(4)), 9, {3, 4, 6, 5}, 23)},
      {"shared", make_problem({tiny_function(4)}, 9, {2, 4, 5, 5}, 24)},
      {"fused", float32(make_problem(std::vector<FunctionSpec>(9, tiny_function(16)), 9, {5, 16, 6, 5}, 25))},
  };
}

TEST(StoredSteps, GiveTheGradientOfBackpropWithExactMethodsAndNearIt) {
  for (const Row& row : rows()) {
    const bool narrow = row.name == "fused";
    for (const std::string solver : {"euler", "heun", "midpoint"}) {
      StageOptions options;
      options.solver = solver, options.reconstruction = ReconstructionKind::backprop;
      const Outcome expected = run(row.problem, options);
      const int64_t steps = step_count(solver, row.problem.depth);
      for (const ReconstructionPlan& plan : reconstruction_plans()) {
        options.reconstruction = plan.kind;
        double before = 1;
        for (const int64_t stored : {int64_t{0}, int64_t{1}, steps / 2, steps - 1, steps}) {
          options.stored_steps = stored;
          const Outcome found = run(row.problem, options);
          const std::string what = row.name + ", " + solver + ", " + plan.name + ", " + std::to_string(stored);
          const double error = relative_error(values(found.gradients), values(expected.gradients));
          EXPECT_EQ(values(found.output), values(expected.output)) << what;
          // Kinks of ReLU: what is reconstructed falls on their other side now and then.
          const bool exact = plan.order == 0 || stored == steps;
          EXPECT_LT(error, exact ? (narrow ? 3e-5 : 1e-11) : std::max(0.3, 2 * before)) << what;
          before = error;
          int64_t evaluations = 0;
          for (int64_t n = 0; n < steps; ++n) {
            const StepReport& step = found.report.steps[static_cast<size_t>(n)];
            evaluations += step.evaluations;
            if (n < steps - stored) continue;
            EXPECT_EQ(step.source, StateSource::kept) << what;
            EXPECT_EQ(step.evaluations, 0) << what;
            EXPECT_EQ(step.error, 0) << what;
          }
          EXPECT_EQ(found.report.evaluations, plan.kind == ReconstructionKind::backprop ? 0 : evaluations) << what;
        }
      }
    }
  }
}

// What has been learned of the steps below stays, and is used.
TEST(StoredSteps, LeaveAdaptiveItsChoices) {
  const Problem problem = tanh_problem(16, false, 8.0);
  StageOptions options;
  options.stored_steps = 6, options.step_size = 1.0;
  const Stage stage(problem.functions, problem.depth, options);
  StageOptions stored;
  stored.reconstruction = ReconstructionKind::backprop, stored.step_size = 1.0;
  const Outcome expected = run(problem, stored);
  for (int i = 0; i < 20; ++i) {
    const Outcome found = pass(stage, problem);
    EXPECT_LT(relative_error(values(found.gradients), values(expected.gradients)), 1e-2) << i;
  }
  const StageReport report = pass(stage, problem).report;
  EXPECT_GT(count(report, StateSource::kept), 6);
  const std::vector<double> learned = stage.learned();
  const Stage all(problem.functions, problem.depth, [&] {
    StageOptions none = options;
    none.stored_steps = 0;
    return none;
  }());
  all.restore_learned(learned);
  EXPECT_GT(count(pass(all, problem).report, StateSource::kept), 1);
}

TEST(StoredSteps, AreNoMoreThanThereAre) {
  const Problem problem = tanh_problem(4, true);
  const auto refused = [&](int64_t stored, const std::string& solver) {
    StageOptions options;
    options.stored_steps = stored, options.solver = solver;
    try {
      const Stage stage(problem.functions, problem.depth, options);
      return std::string();
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(refused(4, "euler"), "");
  EXPECT_EQ(refused(5, "euler"), "stored_steps is 5, expected at most 4, the number of steps");
  EXPECT_EQ(refused(4, "heun"), "stored_steps is 4, expected at most 3, the number of steps");
  EXPECT_EQ(refused(-1, "euler"), "stored_steps is -1, expected 0 (default) or more");
}

// Steps that can't be found are replayed more often with fewer states, and as exactly.
TEST(MostStates, AreKeptAndReplayed) {
  const Problem problem = tanh_problem(30, false, 8.0);
  StageOptions options;
  options.step_size = 1.0;
  StageOptions stored = options;
  stored.reconstruction = ReconstructionKind::backprop;
  const Outcome expected = run(problem, stored);
  int64_t evaluations = 0;
  for (const int64_t most : {12, 6, 3, 2}) {
    options.most_states = most;
    const Stage stage(problem.functions, problem.depth, options);
    StageReport report;
    for (int i = 0; i < 4; ++i) {
      const Outcome found = pass(stage, problem);
      EXPECT_LT(relative_error(values(found.gradients), values(expected.gradients)), 1e-6) << most << ", " << i;
      report = found.report;
    }
    EXPECT_LE(count(report, StateSource::kept), most);
    EXPECT_GT(report.evaluations, evaluations) << most;
    evaluations = report.evaluations;
  }
}

}  // namespace
}  // namespace resnet_nodes
