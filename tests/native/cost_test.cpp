// cost_test.cpp: what passes are foreseen to take.
#include "resnet_nodes/error.h"
#include "truth.h"

namespace resnet_nodes {
namespace {

using namespace truth;

TEST(Costs, EvaluationsAreThoseThatAWayBackReports) {
  for (const int64_t depth : {2, 7, 12}) {
    const Problem problem = make_problem(std::vector<FunctionSpec>(static_cast<size_t>(depth), tiny_function(4)), depth, {3, 4, 6, 6}, 5);
    for (const std::string solver : {"euler", "heun"}) {
      for (const ReconstructionPlan& plan : reconstruction_plans()) {
        StageOptions options;
        options.solver = solver, options.reconstruction = plan.kind;
        const int64_t steps = step_count(solver, depth);
        for (const int64_t stored : {int64_t{0}, steps / 2, steps}) {
          options.stored_steps = stored;
          const Stage stage(problem.functions, depth, options);
          for (int i = 0; i < 3; ++i) pass(stage, problem);
          const PassCost cost = stage.costs(problem.x, {options}).front();
          const auto uses = static_cast<double>(steps * (solver == "heun" ? 2 : 1));
          EXPECT_GE(cost.evaluations, 3 * uses);
        }
      }
    }
  }
}

}  // namespace
}  // namespace resnet_nodes
