// graphed_pass_test.cpp: passes as graphs beside plain ones.
#include "stage/graphed_pass.h"

#include "graph_truth.h"
#include "resnet_nodes/error.h"
#include "tensors/layout.h"

namespace resnet_nodes {
namespace {

using namespace truth;

StageOptions options_of(ReconstructionKind kind, bool graphs = true) {
  StageOptions options;
  options.reconstruction = kind;
  options.cuda_graphs = graphs;
  return options;
}

Problem tiny_problem(int64_t depth = 3, uint64_t seed = 5) {
  return make_problem(std::vector<FunctionSpec>(static_cast<size_t>(depth), tiny_function(4)), depth, {3, 4, 6, 6},
                      seed);
}

std::vector<int32_t> all_wanted(const Problem& problem) { return std::vector<int32_t>(problem.parameters.size(), 1); }

// Other inputs and cotangents from pass to pass, and parameters that move in place as an optimizer moves them.
void change(Problem& problem, Generator& generator) {
  for (Tensor* tensor : {&problem.x, &problem.grad}) {
    *tensor = normal(Shape(tensor->sizes().begin(), tensor->sizes().end()), generator);
  }
  for (Tensor& parameter : problem.parameters) {
    const Shape shape(parameter.sizes().begin(), parameter.sizes().end());
    torch::stable::copy_(parameter, moved(parameter, normal(shape, generator), 1e-3));
  }
}

// Running statistics change in place.
Outcome train(const Stage& stage, Problem& problem) {
  const auto context = stage.forward(problem.x, problem.parameters, problem.buffers, problem.training);
  Outcome outcome;
  outcome.output = context->output();
  stage.backward(*context, problem.grad, all_wanted(problem), {});
  outcome.input_gradient = context->input_gradient();
  outcome.gradients = context->parameter_gradients();
  outcome.report = context->report();
  return outcome;
}

// The same operators on the same numbers: on a GPU their sums may take another order.
void expect_same(const Outcome& found, const Outcome& expected, const std::string& where) {
  EXPECT_LT(relative_error(values(found.output), values(expected.output)), 1e-12) << where;
  EXPECT_LT(relative_error(values(found.input_gradient), values(expected.input_gradient)), 1e-12) << where;
  EXPECT_LT(relative_error(values(found.gradients), values(expected.gradients)), 1e-12) << where;
  EXPECT_EQ(found.report.evaluations, expected.report.evaluations) << where;
  EXPECT_NEAR(found.report.reconstruction_error, expected.report.reconstruction_error, 1e-12) << where;
  ASSERT_EQ(found.report.steps.size(), expected.report.steps.size()) << where;
  for (size_t n = 0; n < found.report.steps.size(); ++n) {
    const double error = expected.report.steps[n].error;
    EXPECT_NEAR(std::min(found.report.steps[n].error, 1e9), std::min(error, 1e9), 1e-10 * (1 + std::min(error, 1e9)));
    EXPECT_EQ(found.report.steps[n].evaluations, expected.report.steps[n].evaluations) << where;
    EXPECT_EQ(found.report.steps[n].source, expected.report.steps[n].source) << where;
  }
}

TEST_F(Graphed, AreThePlainPassesWithAnyReconstruction) {
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    for (const std::string& solver : solver_names()) {
      for (const bool training : {true, false}) {
        StageOptions options = options_of(plan.kind);
        options.solver = solver;
        options.keep_input = true;
        Problem problem = tiny_problem();
        std::fill(problem.training.begin(), problem.training.end(), training ? 1 : 0);
        Problem twin = problem;
        twin.buffers = copies(problem.buffers);
        const Stage graphed(problem.functions, 3, options);
        options.cuda_graphs = false;
        const Stage plain(problem.functions, 3, options);
        Generator generator(6);
        recorded = replayed = 0;
        for (int pass = 0; pass < 6; ++pass) {
          change(problem, generator);
          twin.x = problem.x, twin.grad = problem.grad;
          const Outcome found = train(graphed, problem);
          expect_same(found, train(plain, twin), plan.name + ", pass " + std::to_string(pass));
          EXPECT_LT(relative_error(values(problem.buffers), values(twin.buffers)), 1e-12) << plan.name;
        }
        // Two passes by operators; the way there from the third on. The way back the same, counted from there.
        if (plan.kind != ReconstructionKind::adaptive) expect_counts(2, 4 + 2);
      }
    }
  }
}

TEST_F(Graphed, GiveTheDerivative) {
  for (const bool training : {true, false}) {
    Problem problem = tiny_problem(2);
    std::fill(problem.training.begin(), problem.training.end(), training ? 1 : 0);
    const StageOptions options = options_of(ReconstructionKind::backprop);
    const Stage stage(problem.functions, 2, options);
    const std::vector<Tensor> buffers = problem.buffers;
    for (int pass = 0; pass < 6; ++pass) {
      for (size_t i = 0; i < buffers.size(); ++i) {
        Tensor buffer = buffers[i];
        torch::stable::copy_(buffer, constant(Shape{4}, 1.0 + static_cast<double>(i)));
      }
      if (pass == 5) recorded = replayed = 0;
      const Outcome outcome = train(stage, problem);
      if (pass < 5) continue;
      expect_counts(0, 2);
      Problem before = problem;
      for (size_t i = 0; i < buffers.size(); ++i) {
        before.buffers[i] = constant(Shape{4}, 1.0 + static_cast<double>(i));
      }
      Generator generator(8);
      expect_finite_differences(before, options, outcome, generator);
    }
  }
}

TEST_F(Graphed, LeaveTheirResultsToTheCaller) {
  Problem problem = tiny_problem();
  const Stage stage(problem.functions, 3, options_of(ReconstructionKind::corrected));
  Generator generator(9);
  for (int pass = 0; pass < 5; ++pass) train(stage, problem);
  const Outcome first = train(stage, problem);
  const std::vector<double> output = values(first.output), gradients = values(first.gradients),
                            input_gradient = values(first.input_gradient);
  change(problem, generator);
  EXPECT_NE(values(train(stage, problem).output), output);
  EXPECT_EQ(values(first.output), output);
  EXPECT_EQ(values(first.gradients), gradients);
  EXPECT_EQ(values(first.input_gradient), input_gradient);
}

TEST_F(Graphed, GoOneAtATime) {
  Problem problem = tiny_problem();
  const Stage stage(problem.functions, 3, options_of(ReconstructionKind::corrected));
  const Stage plain(problem.functions, 3, options_of(ReconstructionKind::corrected, false));
  for (int pass = 0; pass < 5; ++pass) train(stage, problem);
  Generator generator(10);
  Problem other = problem;
  change(other, generator);
  const Outcome expected = pass(plain, problem), expected_other = pass(plain, other);
  recorded = replayed = 0;
  for (const bool first_in_first_out : {true, false}) {
    const auto one = stage.forward(problem.x, problem.parameters, problem.buffers, problem.training);
    const auto two = stage.forward(other.x, other.parameters, other.buffers, other.training);
    for (const bool is_one : {first_in_first_out, !first_in_first_out}) {
      const Problem& p = is_one ? problem : other;
      StageContext& context = is_one ? *one : *two;
      stage.backward(context, p.grad, all_wanted(p), {});
      EXPECT_LT(
          relative_error(values(context.parameter_gradients()), values((is_one ? expected : expected_other).gradients)),
          1e-12);
    }
  }
  expect_counts(0, 4);  // of each two passes one
  // Given up without a way back, the graph is free again.
  stage.forward(problem.x, problem.parameters, problem.buffers, problem.training).reset();
  expect_counts(0, 5);
  train(stage, problem);
  expect_counts(0, 7);
}

TEST_F(Graphed, PutGradientsWhereTheyAreWanted) {
  for (const ReconstructionKind kind : {ReconstructionKind::backprop, ReconstructionKind::corrected}) {
    Problem problem = tiny_problem();
    const Stage stage(problem.functions, 3, options_of(kind));
    const Outcome expected = pass(Stage(problem.functions, 3, options_of(kind, false)), problem);
    recorded = replayed = 0;
    // Six passes with all of them; then half of the parameters are frozen, from one pass to the next.
    for (int pass = 0; pass < 11; ++pass) {
      std::vector<int32_t> wanted = all_wanted(problem);
      std::vector<Tensor> given;
      for (size_t i = 0; i < wanted.size(); ++i) {
        if (pass >= 6) wanted[i] = i % 2 == 0;
        const Tensor& parameter = problem.parameters[i];
        const Shape shape(parameter.sizes().begin(), parameter.sizes().end());
        given.push_back(i % 3 == 0 ? constant(shape, 2) : Tensor());
      }
      const auto context = stage.forward(problem.x, problem.parameters, problem.buffers, problem.training);
      stage.backward(*context, problem.grad, wanted, given);
      const std::vector<Tensor> gradients = context->parameter_gradients();
      for (size_t i = 0; i < wanted.size(); ++i) {
        const std::vector<double> whole = values(expected.gradients[i]);
        EXPECT_EQ(gradients[i].defined(), wanted[i] != 0 && !given[i].defined());
        if (gradients[i].defined()) {
          EXPECT_LT(norm(values(moved(gradients[i], expected.gradients[i], -1))), 1e-12 * (1 + norm(whole)));
        }
        if (given[i].defined()) {
          Tensor rest = moved(given[i], constant(Shape(given[i].sizes().begin(), given[i].sizes().end()), 1), -2);
          if (wanted[i] != 0) rest = moved(rest, expected.gradients[i], -1);
          EXPECT_LT(norm(values(rest)), 1e-12 * (1 + norm(whole)));
        }
      }
    }
    // There once, back once with each of the two; two passes of each by operators.
    expect_counts(3, 9 + 2 + 3);
  }
}

// Autograd copies a gradient that is not laid out like its parameter.
TEST_F(Graphed, LayGradientsOutLikeParameters) {
  Problem problem = tiny_problem();
  for (Tensor& parameter : problem.parameters) parameter = state_layout(parameter);
  const Stage stage(problem.functions, 3, options_of(ReconstructionKind::backprop));
  const Outcome expected = pass(Stage(problem.functions, 3, options_of(ReconstructionKind::backprop, false)), problem);
  Outcome found;
  for (int pass = 0; pass < 6; ++pass) found = train(stage, problem);
  for (size_t i = 0; i < problem.parameters.size(); ++i) {
    EXPECT_TRUE(same_dense_layout(found.gradients[i], problem.parameters[i])) << i;
    const double size = 1 + norm(values(expected.gradients[i]));
    EXPECT_LT(norm(values(moved(found.gradients[i], expected.gradients[i], -1))), 1e-12 * size) << i;
  }
  expect_counts(2, 4 + 2);
}

TEST_F(Graphed, AreMadeAnewWhereParametersMove) {
  Problem problem = tiny_problem();
  const Stage stage(problem.functions, 3, options_of(ReconstructionKind::corrected));
  const Stage plain(problem.functions, 3, options_of(ReconstructionKind::corrected, false));
  for (int pass = 0; pass < 6; ++pass) train(stage, problem);
  expect_counts(2, 4 + 2);
  for (const bool parameters : {true, false}) {
    std::vector<Tensor>& list = parameters ? problem.parameters : problem.buffers;
    for (Tensor& tensor : list) tensor = moved(tensor, tensor, 0.5);
    recorded = replayed = 0;
    for (int round = 0; round < 6; ++round) {
      Problem twin = problem;
      twin.buffers = copies(problem.buffers);
      expect_same(train(stage, problem), train(plain, twin), "moved");
      EXPECT_LT(relative_error(values(problem.buffers), values(twin.buffers)), 1e-12);
    }
    expect_counts(2, 4 + 2);
  }
}

TEST_F(Graphed, KeepFourShapes) {
  const Stage stage(tiny_problem().functions, 3, options_of(ReconstructionKind::corrected));
  const Stage plain(tiny_problem().functions, 3, options_of(ReconstructionKind::corrected, false));
  Problem problem = tiny_problem();
  Generator generator(11);
  const auto go = [&](int64_t batch) {
    problem.x = normal({batch, 4, 6, 6}, generator), problem.grad = normal({batch, 4, 6, 6}, generator);
    Problem twin = problem;
    twin.buffers = copies(problem.buffers);
    expect_same(train(stage, problem), train(plain, twin), std::to_string(batch));
  };
  for (int round = 0; round < 5; ++round) go(4), go(2);
  expect_counts(4, 2 * (3 + 1));
  go(3), go(5), go(6);  // in the place of the four
  go(4);
  expect_counts(4, 2 * (3 + 1));
}

TEST_F(Graphed, FollowWhatAdaptiveDecides) {
  Problem problem = make_problem(
      std::vector<FunctionSpec>(12, FunctionSpec{{linear(8, 8), activation(LayerKind::tanh), linear(8, 8)}}), 12,
      {6, 8}, 21);
  StageOptions options = options_of(ReconstructionKind::adaptive);
  options.tolerance = 0.01;
  const Stage graphed(problem.functions, 12, options);
  options.cuda_graphs = false;
  const Stage plain(problem.functions, 12, options);
  Generator generator(12);
  for (int pass = 0; pass < 80; ++pass) {
    // Rough at first, then calm, then rough again.
    const double factor = pass == 25 ? 0.4 : pass == 50 ? 2.5 : 1;
    for (Tensor& parameter : problem.parameters) {
      torch::stable::copy_(parameter, moved(parameter, parameter, factor - 1));
    }
    expect_same(train(graphed, problem), train(plain, problem), "pass " + std::to_string(pass));
    EXPECT_LE(alive, 1 + 4);
  }
  if (problem.x.is_cpu()) {
    // At rest all but the first passes are replays, there and back.
    EXPECT_GT(replayed, 80);
  }
}

TEST_F(Graphed, KeepFourWaysBackAndForgetThoseOfThePast) {
  constexpr int64_t kSteps = AdaptivePolicy::kLeastForesight;
  const Problem problem = make_problem({FunctionSpec{{linear(8, 8), activation(LayerKind::tanh)}}}, kSteps, {6, 8}, 21);
  PassPlan plan;
  plan.table = std::make_shared<LayerTable>(problem.functions, kSteps);
  plan.workspaces = std::make_shared<Workspaces>();
  plan.solver = &find_solver("euler");
  plan.steps = plan.first_tape = kSteps, plan.h = 1.0 / kSteps;
  plan.walk = make_plan(plan.options, kSteps);
  const Choices none(kSteps);
  GraphedPass graphed(plan, problem.x, problem.parameters, {}, {}, none);
  const std::vector<std::vector<size_t>> foreseen{{}, {1}, {2}, {3}, {2, 3}};
  const auto go = [&](size_t way, int64_t wait) {
    graphed.forward(problem.x);
    Choices choices = none;
    for (StepChoice& choice : choices) choice.wait = wait;
    for (const size_t n : foreseen[way]) choices[n].way = Way::foresee;
    const BackwardPass back = graphed.backward(problem.grad, all_wanted(problem), {}, choices);
    // x_0 is kept, and x_1 one step from it.
    EXPECT_EQ(back.walk.evaluations, 2 * kSteps - 1 - static_cast<int64_t>(foreseen[way].size()));
  };
  for (size_t way = 0; way < 4; ++way) {
    // What a step waits for does not matter, but that it does.
    for (int64_t wait = 1; wait <= 3; ++wait) go(way, wait);
  }
  expect_counts(1 + 4, 12 + 4);
  // The first one's last pass was the 3rd: the 19th is the first that takes its place.
  for (int pass = 13; pass <= 18; ++pass) go(4, 1);
  expect_counts(1 + 4, 18 + 4);
  go(4, 1);
  expect_counts(1 + 5, 19 + 5);
  go(0, 1);
  go(3, 1);
  expect_counts(1 + 5, 21 + 6);
}

TEST_F(Graphed, GoWithoutParameters) {
  const Problem problem = make_problem({FunctionSpec{{activation(LayerKind::tanh)}}}, 2, {6, 8}, 21);
  const Stage stage(problem.functions, 2, options_of(ReconstructionKind::backprop));
  const Outcome expected = pass(Stage(problem.functions, 2, options_of(ReconstructionKind::backprop, false)), problem);
  for (int round = 0; round < 6; ++round) {
    EXPECT_EQ(values(pass(stage, problem).input_gradient), values(expected.input_gradient));
  }
  expect_counts(2, 4 + 2);
}

TEST_F(Graphed, ComputeInMixedPrecision) {
  Problem problem = tiny_problem();
  const auto narrow = [](std::vector<Tensor>& tensors) {
    for (Tensor& tensor : tensors) tensor = torch::stable::to(tensor, ScalarType::Float);
  };
  narrow(problem.parameters), narrow(problem.buffers);
  problem.x = torch::stable::to(problem.x, ScalarType::Float);
  problem.grad = torch::stable::to(problem.grad, ScalarType::Float);
  StageOptions options = options_of(ReconstructionKind::corrected);
  options.compute_type = ComputeType::bfloat16;
  const Stage graphed(problem.functions, 3, options);
  options.cuda_graphs = false;
  const Stage plain(problem.functions, 3, options);
  // Running statistics are not read in training.
  for (int round = 0; round < 6; ++round) {
    const Outcome found = train(graphed, problem), expected = train(plain, problem);
    // Rounding may differ on a GPU, by that of bfloat16 in each of the layers.
    const double bound = problem.x.is_cpu() ? 1e-12 : 0.02;
    EXPECT_LE(relative_error(values(found.output), values(expected.output)), bound);
    EXPECT_LE(relative_error(values(found.gradients), values(expected.gradients)), bound);
    for (const Tensor& gradient : found.gradients) EXPECT_EQ(gradient.scalar_type(), ScalarType::Float);
  }
  expect_counts(2, 4 + 2);
}

TEST_F(Graphed, GoOnAfterAFailure) {
  Problem problem = tiny_problem();
  if (!problem.x.is_cpu()) return;
  const Stage stage(problem.functions, 3, options_of(ReconstructionKind::corrected));
  for (int pass = 0; pass < 4; ++pass) train(stage, problem);
  fails = true;
  EXPECT_THROW(train(stage, problem), Error);
  fails = false;
  train(stage, problem);
  expect_counts(2, 4 + 1);
}

}  // namespace
}  // namespace resnet_nodes
