// cost_test.cpp: what passes are foreseen to take. Bytes are compared with measured ones in the tests of the managed
// layer.
#include "resnet_nodes/error.h"
#include "truth.h"

namespace resnet_nodes {
namespace {

using namespace truth;

StageOptions with(const std::string& solver, ReconstructionKind kind, int64_t count, int64_t stored) {
  StageOptions options;
  options.solver = solver, options.reconstruction = kind, options.count = count, options.stored_steps = stored;
  return options;
}

TEST(Costs, EvaluationsAreThoseThatExactMethodsReport) {
  for (const int64_t depth : {2, 7, 12}) {
    const std::vector<FunctionSpec> functions(static_cast<size_t>(depth), tiny_function(4));
    const Problem problem = make_problem(functions, depth, {3, 4, 6, 6}, 5);
    for (const std::string solver : {"euler", "heun"}) {
      const int64_t steps = step_count(solver, depth);
      for (const ReconstructionPlan& plan : reconstruction_plans()) {
        for (const int64_t stored : {int64_t{0}, steps / 2, steps}) {
          const StageOptions options = with(solver, plan.kind, 0, stored);
          const Stage stage(problem.functions, depth, options);
          const Outcome found = pass(stage, problem);
          const PassCost cost = stage.costs(problem.x, {options}).front();
          const auto uses = static_cast<double>(steps * (solver == "heun" ? 2 : 1));
          EXPECT_DOUBLE_EQ(cost.evaluations, 3 * uses + cost.backward_evaluations);
          if (plan.order != 0) continue;
          EXPECT_EQ(cost.backward_evaluations, static_cast<double>(found.report.evaluations)) << plan.name;
        }
      }
    }
  }
}

// Of what adaptive has learned: all its steps are kept or replayed, which is foreseen to the last evaluation.
TEST(Costs, FollowWhatAdaptiveHasLearned) {
  Problem problem = make_problem(std::vector<FunctionSpec>(20, FunctionSpec{{linear(4, 4, false)}}), 20, {2, 4}, 3);
  for (Tensor& parameter : problem.parameters) parameter = diagonal(4, 3);
  StageOptions options = with("euler", ReconstructionKind::adaptive, 0, 0);
  options.step_size = 1.0;
  const Stage stage(problem.functions, 20, options);
  const PassCost before = stage.costs(problem.x, {options}).front();
  for (int i = 0; i < 3; ++i) pass(stage, problem);
  const PassCost after = stage.costs(problem.x, {options}).front();
  EXPECT_GT(after.evaluations, before.evaluations);
  // The state beside x_0 is one step from it, and had by a replay of its own.
  EXPECT_NEAR(after.backward_evaluations, static_cast<double>(pass(stage, problem).report.evaluations), 1);
}

TEST(Costs, BytesGrowByTapesAndStates) {
  const int64_t depth = 12, state = 3 * 4 * 6 * 6 * 8;
  const Problem problem = make_problem(std::vector<FunctionSpec>(12, tiny_function(4)), depth, {3, 4, 6, 6}, 5);
  const Stage stage(problem.functions, depth, StageOptions());
  const auto cost = [&](ReconstructionKind kind, int64_t count, int64_t stored) {
    return stage.costs(problem.x, {with("euler", kind, count, stored)}).front();
  };
  using enum ReconstructionKind;
  EXPECT_EQ(cost(inverse, 0, 0).kept_bytes, state) << "x_N alone: x_0 is the caller's";
  EXPECT_EQ(cost(checkpoint, 1, 0).kept_bytes, state * depth);
  EXPECT_EQ(cost(checkpoint, 3, 0).kept_bytes, state * 4);
  const int64_t tape = (cost(backprop, 0, 0).kept_bytes - state) / depth;
  EXPECT_GE(tape, 4 * state) << "a function keeps the inputs of its convolutions and normalizations";
  for (int64_t stored = 2; stored < depth; ++stored) {
    EXPECT_EQ(cost(inverse, 0, stored).kept_bytes - cost(inverse, 0, stored - 1).kept_bytes, tape) << stored;
  }
  EXPECT_EQ(cost(backprop, 0, 0).output_sizes, (std::vector<int64_t>{3, 4, 6, 6}));
}

// Whether a function's product goes over parts of the batch is decided by bytes of the type that it computes in.
TEST(Costs, OfMixedPrecisionAreThoseOfNarrowValues) {
  // What the layers after the first one are given are four rows.
  const FunctionSpec function{{conv(4, 4), batch_norm(4), activation(LayerKind::gelu), conv(4, 4), batch_norm(4)}};
  const Problem problem = make_problem(std::vector<FunctionSpec>(3, function), 3, {4, 4, 6, 6}, 5);
  const Tensor x = torch::stable::to(problem.x, ScalarType::Float);
  for (const ComputeType type : {ComputeType::same_as_state, ComputeType::bfloat16}) {
    StageOptions options = with("euler", ReconstructionKind::inverse, 0, 0);
    options.compute_type = type;
    const auto repeats = [&](int64_t bytes) {
      options.tape_bytes = bytes;
      const PassCost cost = Stage(problem.functions, 3, options).costs(x, {options}).front();
      return cost.evaluations > 3 * 3 + cost.backward_evaluations;
    };
    int64_t enough = 1;
    while (repeats(enough)) ++enough;
    EXPECT_EQ(enough, 4 * x.numel() * (type == ComputeType::bfloat16 ? 2 : 4));
  }
}

TEST(Costs, RefuseWhatDoesNotFit) {
  const Problem problem = make_problem({tiny_function(4)}, 3, {3, 4, 6, 6}, 5);
  const Stage stage(problem.functions, 3, StageOptions());
  const auto refused = [&](const Tensor& x, const StageOptions& options) {
    try {
      stage.costs(x, {options});
      return std::string();
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(refused(problem.x, StageOptions()), "");
  EXPECT_EQ(refused(constant({3, 5, 6, 6}, 0), StageOptions()),
            "function 0, layer 0 (conv2d): input is [3, 5, 6, 6], expected [B, 4, H, W]");
  EXPECT_EQ(refused(constant({3, 4}, 0), StageOptions()),
            "function 0, layer 0 (conv2d): input is [3, 4], expected [B, 4, H, W]");
  EXPECT_EQ(refused(problem.x, with("euler", ReconstructionKind::inverse, 0, 4)),
            "stored_steps is 4, expected at most 3, the number of steps");
  EXPECT_EQ(Stage(3, StageOptions()).parameter_count(), 0);
  EXPECT_THROW(Stage(3, StageOptions()).costs(problem.x, {StageOptions()}), Error);
}

}  // namespace
}  // namespace resnet_nodes
