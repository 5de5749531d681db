// versions_test.cpp: what the way back reads is as the forward pass found it, or the backward pass is refused.
#include "graph_truth.h"
#include "resnet_nodes/error.h"
#include "resnet_nodes/runtime.h"
#include "tensors/dispatcher.h"
#include "tensors/layout.h"
#include "walk/plans.h"

namespace resnet_nodes {
namespace {

using namespace truth;

constexpr const char* kAgain = "; run the forward pass again before the backward pass";

StageOptions options_of(ReconstructionKind kind) {
  StageOptions options;
  options.reconstruction = kind;
  return options;
}

// Row-major x would be converted, and the engine would have a copy of its own.
Problem tiny_problem(bool shares_input = true) {
  Problem problem = make_problem({tiny_function(4), tiny_function(4)}, 2, {3, 4, 6, 6}, 5);
  if (shares_input) problem.x = state_layout(problem.x);
  return problem;
}

void change(const Tensor& tensor) {
  Generator generator(1);
  Tensor target = tensor;
  torch::stable::copy_(target, normal(Shape(tensor.sizes().begin(), tensor.sizes().end()), generator));
}

// What a pass gives where `between` happens between forward and backward.
Outcome pass_around(const Stage& stage, const Problem& problem, const std::vector<Tensor>& buffers,
                    const std::function<void(StageContext&)>& between) {
  const auto context = stage.forward(problem.x, problem.parameters, buffers, problem.training);
  Outcome outcome;
  outcome.output = torch::stable::clone(context->output());
  between(*context);
  stage.backward(*context, problem.grad, std::vector<int32_t>(problem.parameters.size(), 1), {});
  outcome.input_gradient = context->input_gradient();
  outcome.gradients = context->parameter_gradients();
  return outcome;
}

Outcome pass_around(const StageOptions& options, const Problem& problem,
                    const std::function<void(StageContext&)>& between) {
  const Stage stage(problem.functions, problem.depth, options);
  return pass_around(stage, problem, copies(problem.buffers), between);
}

void expect_refused(const std::function<void()>& action, const std::string& begin, const std::string& end) {
  try {
    action();
    ADD_FAILURE() << "no error, expected one that begins: " << begin;
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_TRUE(message.starts_with(begin)) << message;
    EXPECT_TRUE(message.ends_with(end + kAgain)) << message;
  }
}

void expect_same_gradients(const Outcome& found, const Outcome& expected, const std::string& what) {
  expect_same(values(found.input_gradient), values(expected.input_gradient), what);
  expect_same(values(found.gradients), values(expected.gradients), what);
}

TEST(Versions, CountChangesInPlaceThroughAnyView) {
  Tensor tensor = constant({4, 3}, 1);
  const int64_t before = tensor_version(tensor);
  torch::stable::copy_(tensor, constant({4, 3}, 2));
  EXPECT_EQ(tensor_version(tensor), before + 1);
  Tensor row = torch::stable::narrow(tensor, 0, 1, 1);
  torch::stable::zero_(row);
  EXPECT_EQ(tensor_version(tensor), before + 2);
  values(tensor);
  EXPECT_EQ(tensor_version(tensor), before + 2);
  EXPECT_THROW(tensor_version(Tensor()), Error);
}

TEST(Versions, AChangedParameterIsRefusedByName) {
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    const Problem problem = tiny_problem();
    const Stage stage(problem.functions, problem.depth, options_of(plan.kind));
    const auto context = stage.forward(problem.x, problem.parameters, copies(problem.buffers), problem.training);
    const std::vector<int32_t> wanted(problem.parameters.size(), 1);
    const int64_t before = tensor_version(problem.parameters[11]);
    change(problem.parameters[11]);
    // Again too: the context is as before.
    for (int i = 0; i < 2; ++i) {
      expect_refused(
          [&] { stage.backward(*context, problem.grad, wanted, {}); },
          "parameters[11] (function 1, layer 1, bias) was changed in place since the forward pass (version " +
              std::to_string(before + 1) + ", expected " + std::to_string(before) + ")",
          "");
    }
    const Outcome after = pass_around(stage, problem, copies(problem.buffers), [](StageContext&) {});
    expect_same_gradients(after, run(problem, options_of(plan.kind)), plan.name);
  }
}

TEST(Versions, AParameterWithOtherMemoryIsRefused) {
  const Problem problem = tiny_problem();
  expect_refused(
      [&] {
        pass_around(StageOptions(), problem, [&](StageContext&) {
          call_operator<0>("aten::set_data", "", problem.parameters[4], torch::stable::clone(problem.parameters[4]));
        });
      },
      "parameters[4] (function 0, layer 3, weight) was given other memory since the forward pass", "");
}

TEST(Versions, AChangedInputIsRefusedWhereTheWayBackReadsIt) {
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    for (const bool keep_input : {false, true}) {
      for (const bool shares : {false, true}) {
        const Problem problem = tiny_problem(shares);
        StageOptions options = options_of(plan.kind);
        options.keep_input = keep_input;
        const std::string what = plan.name + (keep_input ? ", input kept" : "") + (shares ? ", shared" : "");
        const Outcome expected = run(problem, options);
        const auto found = [&] { return pass_around(options, problem, [&](StageContext&) { change(problem.x); }); };
        const bool keeps = !plan.memory_free || plan.kind == ReconstructionKind::adaptive;
        if (shares && keeps) {
          expect_refused(found, "x was changed in place since the forward pass", ", and " + plan.name + " keeps it");
        } else if (shares && keep_input) {
          expect_refused(found, "x was changed in place since the forward pass", ", and keep_input compares with it");
        } else {
          expect_same_gradients(found(), expected, what);
        }
      }
    }
  }
}

TEST(Versions, AChangedOutputIsRefusedWhereTheWayBackStartsFromIt) {
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    const Problem problem = tiny_problem();
    const auto found = [&] {
      return pass_around(options_of(plan.kind), problem, [](StageContext& context) { change(context.output()); });
    };
    if (plan.memory_free) {
      expect_refused(found, "the output was changed in place since the forward pass",
                     ", and the way back starts from it");
    } else {
      expect_same_gradients(found(), run(problem, options_of(plan.kind)), plan.name);
    }
  }
}

// Batch normalization changes them without a new version: another pass, or the optimizer's owner.
TEST(Versions, FrozenNormsUseTheStatisticsOfTheForwardPass) {
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    Problem problem = tiny_problem();
    problem.training = {0, 1, 0, 0};
    const Stage stage(problem.functions, problem.depth, options_of(plan.kind));
    const Outcome expected = pass_around(stage, problem, copies(problem.buffers), [](StageContext&) {});
    const std::vector<Tensor> buffers = copies(problem.buffers);
    const Outcome found = pass_around(stage, problem, buffers, [&](StageContext&) {
      stage.evaluate(problem.x, problem.parameters, buffers, {1, 1, 1, 1});
      change(buffers[1]);
    });
    expect_same_gradients(found, expected, plan.name);
  }
}

class GraphedVersions : public Graphed {};

TEST_F(GraphedVersions, AreCheckedToo) {
  const Problem problem = tiny_problem();
  StageOptions options = options_of(ReconstructionKind::corrected);  // adaptive learns from pass to pass
  options.cuda_graphs = true;
  options.keep_input = true;
  const Stage stage(problem.functions, problem.depth, options);
  const std::vector<Tensor> buffers = copies(problem.buffers);
  const auto nothing = [](StageContext&) {};
  // The third is the first that is recorded; a graph has its own x, and copies its output out.
  for (int i = 0; i < 4; ++i) pass_around(stage, problem, buffers, nothing);
  expect_refused([&] { pass_around(stage, problem, buffers, [&](StageContext&) { change(problem.parameters[0]); }); },
                 "parameters[0] (function 0, layer 0, weight) was changed in place since the forward pass", "");
  const Outcome expected = pass_around(stage, problem, buffers, nothing);
  const Outcome found = pass_around(stage, problem, buffers, [&](StageContext& context) {
    change(problem.x);
    change(context.output());
  });
  expect_same_gradients(found, expected, "own x");
}

}  // namespace
}  // namespace resnet_nodes
