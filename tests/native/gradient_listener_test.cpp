// gradient_listener_test.cpp: who is told of gradients during a backward pass finds them final.
#include "fused_truth.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

using namespace truth;

// What a listener has been told, and what the gradients were then.
struct Told {
  std::vector<Tensor> sums;          ///< that gradients are added to
  std::vector<double> as_told;       ///< of all parameters, as they were told of
  std::vector<int64_t> first;        ///< parameter of each call
  std::vector<int64_t> times;        ///< of each parameter
  std::vector<bool> first_function;  ///< at each call: whether function 0 has any gradient yet
  int64_t parameters_of_first = 0;
  int32_t code = 0;

  GradientListener listener() {
    GradientListener result;
    result.ready = reinterpret_cast<void*>(static_cast<int32_t (*)(void*, int64_t, int64_t)>(
        [](void* user, int64_t begin, int64_t count) { return static_cast<Told*>(user)->take(begin, count); }));
    result.user = this;
    return result;
  }

  int32_t take(int64_t begin, int64_t count) {
    bool any = false;
    for (int64_t i = 0; i < parameters_of_first; ++i) any = any || norm(values(sums[static_cast<size_t>(i)])) > 0;
    first_function.push_back(any);
    first.push_back(begin);
    for (int64_t i = begin; i < begin + count; ++i) {
      ++times[static_cast<size_t>(i)];
      const std::vector<double> now = values(sums[static_cast<size_t>(i)]);
      as_told.insert(as_told.begin(), now.begin(), now.end());
    }
    return code;
  }
};

Told told_of(const Problem& problem, int64_t parameters_of_first) {
  Told told;
  for (const Tensor& parameter : problem.parameters) {
    const Tensor zero = constant(Shape(parameter.sizes().begin(), parameter.sizes().end()), 0);
    told.sums.push_back(torch::stable::to(zero, parameter.scalar_type()));
  }
  told.times.resize(problem.parameters.size());
  told.parameters_of_first = parameters_of_first;
  return told;
}

// A backward pass that adds its gradients to those of `told`, and tells it.
void run_told(const Problem& problem, const StageOptions& options, Told& told) {
  const Stage stage(problem.functions, problem.depth, options);
  const auto context = stage.forward(problem.x, problem.parameters, copies(problem.buffers), problem.training);
  stage.backward(*context, problem.grad, std::vector<int32_t>(problem.parameters.size(), 1), told.sums, true,
                 told.listener());
}

// The same numbers in the order in which `as_told` has them: of each call in turn, and its parameters backwards.
std::vector<double> in_order_told(const Told& told, int64_t per_call) {
  std::vector<double> result;
  for (const int64_t begin : told.first) {
    for (int64_t i = begin; i < begin + per_call; ++i) {
      const std::vector<double> now = values(told.sums[static_cast<size_t>(i)]);
      result.insert(result.begin(), now.begin(), now.end());
    }
  }
  return result;
}

TEST(GradientListener, IsToldOfFinalGradientsWithAllMethodsAndSolvers) {
  uint64_t seed = 40;
  for (const std::string& solver : solver_names()) {
    for (const ReconstructionPlan& plan : reconstruction_plans()) {
      for (const int64_t depth : {3, 6}) {
        for (const bool fused : {false, true}) {
          const std::vector<FunctionSpec> functions(static_cast<size_t>(depth), tiny_function(fused ? 16 : 4));
          Problem problem = make_problem(functions, depth, {3, fused ? 16 : 4, 5, 4}, ++seed);
          if (fused) problem = float32(problem);
          const auto per_function = static_cast<int64_t>(problem.parameters.size()) / depth;
          Told told = told_of(problem, per_function);
          StageOptions options = options_of(plan.kind, solver);
          options.stored_steps = seed % 3 == 0 ? 2 : 0;
          run_told(problem, options, told);
          const std::string what = solver + ", " + plan.name + ", depth " + std::to_string(depth);
          EXPECT_EQ(told.times, std::vector<int64_t>(problem.parameters.size(), 1)) << what;
          EXPECT_EQ(told.as_told, in_order_told(told, per_function)) << what;
          // From the last function to the first, while the walk goes on: the first function has nothing yet.
          ASSERT_EQ(static_cast<int64_t>(told.first.size()), depth) << what;
          for (int64_t n = 0; n < depth; ++n) {
            EXPECT_EQ(told.first[static_cast<size_t>(depth - 1 - n)], n * per_function) << what;
          }
          EXPECT_FALSE(told.first_function.front()) << what;
        }
      }
    }
  }
}

TEST(GradientListener, IsToldOfASharedFunctionOnce) {
  const Problem problem = make_problem({tiny_function(4)}, 5, {3, 4, 5, 4}, 7);
  for (const std::string& solver : solver_names()) {
    const auto count = static_cast<int64_t>(problem.parameters.size());
    Told told = told_of(problem, 0);
    run_told(problem, options_of(ReconstructionKind::adaptive, solver), told);
    EXPECT_EQ(told.first, std::vector<int64_t>{0}) << solver;
    EXPECT_EQ(told.as_told, in_order_told(told, count)) << solver;
  }
}

TEST(GradientListener, IsToldOfAFunctionAlone) {
  for (const ReconstructionKind kind : {ReconstructionKind::backprop, ReconstructionKind::checkpoint}) {
    const Problem problem = make_problem_alone(first_block(4, 3), {3, 4, 6, 4}, 8);
    const auto count = static_cast<int64_t>(problem.parameters.size());
    StageOptions options;
    options.residual = false;
    options.reconstruction = kind;
    Told told = told_of(problem, 0);
    run_told(problem, options, told);
    EXPECT_EQ(told.first, std::vector<int64_t>{0});
    EXPECT_EQ(told.as_told, in_order_told(told, count));
  }
}

TEST(GradientListener, EndsThePassWhereItFails) {
  const Problem problem = make_problem(std::vector<FunctionSpec>(3, tiny_function(4)), 3, {3, 4, 5, 4}, 9);
  Told told = told_of(problem, 0);
  told.code = 1;
  EXPECT_THROW(run_told(problem, StageOptions(), told), CallbackError);
  EXPECT_EQ(told.first.size(), 1U);
}

}  // namespace
}  // namespace resnet_nodes
