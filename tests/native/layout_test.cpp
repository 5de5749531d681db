// layout_test.cpp: results come in the layout of the stage's input, whatever states have inside.
#include "tensors/layout.h"

#include "stage/context.h"
#include "truth.h"

namespace resnet_nodes {
namespace {

using namespace truth;

enum class Order { row_major, channels_last, either };

struct Case {
  const char* name;
  Tensor x;
  Order order;
  FunctionSpec function;
};

// Inputs of one set of values in several layouts.
std::vector<Case> cases() {
  Generator generator(7);
  const Tensor wide = normal({3, 4, 6, 5}, generator);
  Tensor last = state_layout(wide), tall = wide;
  const FunctionSpec four = tiny_function(4);
  return {
      {"row-major", wide, Order::row_major, four},
      {"channels_last", last, Order::channels_last, four},
      {"rows of channels_last", torch::stable::narrow(last, 2, 1, 3), Order::channels_last, four},
      {"rows of row-major", torch::stable::narrow(tall, 2, 1, 3), Order::row_major, four},
      {"one channel", normal({3, 1, 6, 5}, generator), Order::either, {{conv(1, 1), activation(LayerKind::tanh)}}},
      {"one pixel", normal({3, 4, 1, 1}, generator), Order::either, {{conv(4, 4), activation(LayerKind::tanh)}}},
      {"rows", normal({3, 4}, generator), Order::either, {{linear(4, 4), activation(LayerKind::tanh)}}},
  };
}

Problem problem_of(const Case& row) {
  const Shape shape(row.x.sizes().begin(), row.x.sizes().end());
  Problem problem = make_problem({row.function}, 3, shape, 11);
  problem.x = row.x;
  return problem;
}

void expect_order(const Tensor& result, Order order, const std::string& what) {
  EXPECT_EQ(result.is_contiguous(), order != Order::channels_last) << what;
  EXPECT_TRUE(same_dense_layout(
      result, order == Order::channels_last ? state_layout(result) : torch::stable::contiguous(result)))
      << what;
}

TEST(Layout, ResultsHaveThatOfTheInput) {
  for (const Case& row : cases()) {
    const Problem problem = problem_of(row);
    for (const ReconstructionPlan& plan : reconstruction_plans()) {
      StageOptions options;
      options.reconstruction = plan.kind;
      const std::string what = std::string(row.name) + ", " + plan.name;
      const Outcome found = run(problem, options);
      expect_order(found.output, row.order, what + ", output");
      expect_order(found.input_gradient, row.order, what + ", gradient");
      const Stage stage(problem.functions, problem.depth, options);
      const Tensor alone = stage.evaluate(problem.x, problem.parameters, copies(problem.buffers), problem.training);
      expect_order(alone, row.order, what + ", evaluated");
      // The numbers are those of the engine's own layout.
      Problem inside = problem;
      inside.x = state_layout(problem.x);
      const Outcome expected = run(inside, options);
      EXPECT_EQ(values(found.output), values(expected.output)) << what;
      EXPECT_EQ(values(alone), values(expected.output)) << what;
      expect_same(values(found.input_gradient), values(expected.input_gradient), what);
      expect_same(values(found.gradients), values(expected.gradients), what);
    }
  }
}

// The way back starts from the engine's own state: what a caller does to its copy does not matter.
TEST(Layout, OnlyAConvertedOutputIsACopy) {
  for (const Case& row : cases()) {
    const Problem problem = problem_of(row);
    const Stage stage(problem.functions, problem.depth, StageOptions());
    const auto context = stage.forward(problem.x, problem.parameters, copies(problem.buffers), problem.training);
    Tensor output = context->output();
    EXPECT_EQ(same_memory(output, context->impl().pass.output), row.order != Order::row_major) << row.name;
    if (row.order != Order::row_major) continue;
    torch::stable::zero_(output);
    stage.backward(*context, problem.grad, std::vector<int32_t>(problem.parameters.size(), 1), {});
    const Outcome expected = run(problem, StageOptions());
    expect_same(values(context->input_gradient()), values(expected.input_gradient), row.name);
    expect_same(values(context->parameter_gradients()), values(expected.gradients), row.name);
  }
}

TEST(Layout, ViewsTakeTheLayoutOfADenseTensorAndItsElementsInOrder) {
  const Tensor flat = constant({24}, 3);
  const Tensor rows = constant({2, 3, 2, 2}, 0), pixels = state_layout(rows),
               gaps = part_of(constant({2, 6}, 0), 1, 0, 3);
  for (const Tensor& like : {rows, pixels}) {
    const Tensor view = laid_out_like(flat, like);
    EXPECT_TRUE(same_dense_layout(view, like));
    EXPECT_TRUE(same_memory(view, flat));
  }
  Tensor all = flat;
  const Tensor some = laid_out_like(torch::stable::narrow(all, 0, 6, 6), gaps);
  EXPECT_TRUE(same_sizes(some, gaps) && some.is_contiguous());
  EXPECT_EQ(static_cast<const double*>(some.const_data_ptr()), static_cast<const double*>(flat.const_data_ptr()) + 6);
}

}  // namespace
}  // namespace resnet_nodes
