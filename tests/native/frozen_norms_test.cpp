// frozen_norms_test.cpp: batch normalizations that use their running statistics beside others that use the batch's.
#include "resnet_nodes/error.h"
#include "truth.h"

namespace resnet_nodes {
namespace {

using namespace truth;

// The reconstructions that can be made exact, made so.
std::vector<StageOptions> exact_options() {
  std::vector<StageOptions> all;
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    const bool iterates = plan.kind == ReconstructionKind::corrected || plan.kind == ReconstructionKind::adaptive;
    if (!iterates && plan.memory_free) continue;
    StageOptions options;
    options.reconstruction = plan.kind;
    options.count = iterates ? 40 : 0;
    options.tolerance = 1e-13;
    options.step_size = 0.05;
    all.push_back(options);
  }
  return all;
}

// Every pattern of two modes, and one that differs from function to function.
std::vector<std::vector<int32_t>> mode_patterns() { return {{0, 1}, {1, 0}, {0, 0}, {1, 1, 0, 1, 0, 0}}; }

Problem with_modes(const std::vector<int32_t>& modes) {
  const bool shared = modes.size() == 2;
  Problem problem = make_problem(std::vector<FunctionSpec>(shared ? 1 : 3, tiny_function(4)), 3, {3, 4, 5, 6}, 21);
  problem.training = modes;
  return problem;
}

TEST(FrozenNorms, GradientsAreThoseOfCentralDifferences) {
  Generator generator(3);
  for (const std::vector<int32_t>& modes : mode_patterns()) {
    const Problem problem = with_modes(modes);
    for (const StageOptions& options : exact_options()) {
      SCOPED_TRACE(std::to_string(modes.size()) + " modes, first " + std::to_string(modes[0]) + ", plan " +
                   std::to_string(static_cast<int>(options.reconstruction)));
      expect_finite_differences(problem, options, run(problem, options), generator);
    }
  }
}

TEST(FrozenNorms, RunningStatisticsOfTheOthersAloneChangeOnce) {
  for (const std::vector<int32_t>& modes : mode_patterns()) {
    for (const StageOptions& options : exact_options()) {
      const Problem problem = with_modes(modes);
      const Stage stage(problem.functions, problem.depth, options);
      const std::vector<Tensor> buffers = copies(problem.buffers), once = copies(problem.buffers);
      stage.evaluate(problem.x, problem.parameters, once, problem.training);
      const auto context = stage.forward(problem.x, problem.parameters, buffers, problem.training);
      stage.backward(*context, problem.grad, std::vector<int32_t>(problem.parameters.size(), 1), {});
      for (size_t i = 0; i < modes.size(); ++i) {
        for (const size_t buffer : {2 * i, 2 * i + 1}) {
          EXPECT_EQ(values(buffers[buffer]), values(once[buffer])) << buffer;
          EXPECT_EQ(values(buffers[buffer]) == values(problem.buffers[buffer]), modes[i] == 0) << buffer;
        }
      }
    }
  }
}

TEST(FrozenNorms, ModesHaveToBeAsManyAsTheNormalizations) {
  const Problem problem = with_modes({1, 0, 1, 0, 1, 0});
  const Stage stage(problem.functions, problem.depth, StageOptions());
  EXPECT_EQ(stage.norm_count(), 6);
  try {
    stage.forward(problem.x, problem.parameters, problem.buffers, {1, 1, 1});
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "training has 3 entries, expected 6, one a batch normalization");
  }
}

}  // namespace
}  // namespace resnet_nodes
