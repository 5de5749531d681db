// stage_test.cpp: the public class: closed forms, batch normalization's rules, callbacks, and what it refuses.
#include "resnet_nodes/stage.h"

#include <cstdlib>

#include "resnet_nodes/error.h"
#include "resnet_nodes/runtime.h"
#include "truth.h"

namespace resnet_nodes {
namespace {

using namespace truth;

// x_{n+1} = (I + h A_n) x_n: output and gradients by plain loops over d x d matrices.
TEST(LinearStage, MatchesItsClosedForm) {
  const int64_t d = 3, depth = 6;
  const Problem problem =
      make_problem(std::vector<FunctionSpec>(depth, FunctionSpec{{linear(d, d, false)}}), depth, {1, d}, 4);
  const double h = 1.0 / static_cast<double>(depth);
  const auto size = static_cast<size_t>(d);
  std::vector<std::vector<double>> states{values(problem.x)};
  const auto a = [&](int64_t n) { return values(problem.parameters[static_cast<size_t>(n)]); };
  for (int64_t n = 0; n < depth; ++n) {
    std::vector<double> next = states.back();
    for (size_t i = 0; i < size; ++i) {
      for (size_t j = 0; j < size; ++j) next[i] += h * a(n)[i * size + j] * states.back()[j];
    }
    states.push_back(next);
  }
  std::vector<double> g = values(problem.grad), expected(size * size * static_cast<size_t>(depth));
  for (int64_t n = depth; n-- > 0;) {
    const auto& x = states[static_cast<size_t>(n)];
    std::vector<double> before = g;
    for (size_t i = 0; i < size; ++i) {
      for (size_t j = 0; j < size; ++j) {
        expected[static_cast<size_t>(n) * size * size + i * size + j] = h * g[i] * x[j];
        before[j] += h * a(n)[i * size + j] * g[i];
      }
    }
    g = before;
  }
  for (const ReconstructionKind kind : {ReconstructionKind::backprop, ReconstructionKind::corrected}) {
    StageOptions options;
    options.reconstruction = kind;
    options.count = kind == ReconstructionKind::corrected ? 40 : 0;
    const Outcome outcome = run(problem, options);
    EXPECT_LT(relative_error(values(outcome.output), states.back()), 1e-14);
    EXPECT_LT(relative_error(values(outcome.gradients), expected), 1e-12);
    EXPECT_LT(relative_error(values(outcome.input_gradient), g), 1e-12);
  }
}

TEST(BatchNorm, RunningStatisticsChangeOnceAStep) {
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    const Problem problem = make_problem(std::vector<FunctionSpec>(6, tiny_function(4)), 6, {4, 4, 6, 6}, 8);
    StageOptions options;
    options.reconstruction = plan.kind;
    const Stage stage(problem.functions, problem.depth, options);
    const std::vector<Tensor> once = copies(problem.buffers), buffers = copies(problem.buffers);
    stage.evaluate(problem.x, problem.parameters, once, problem.training);
    const auto context = stage.forward(problem.x, problem.parameters, buffers, problem.training);
    stage.backward(*context, problem.grad, std::vector<int32_t>(problem.parameters.size(), 1), {});
    EXPECT_EQ(values(buffers), values(once)) << plan.name;
    EXPECT_NE(values(buffers), values(problem.buffers)) << plan.name;
  }
}

TEST(Gradients, FrozenParametersGetNoneAndOthersTheSame) {
  const Problem problem = make_problem(std::vector<FunctionSpec>(3, tiny_function(4)), 3, {2, 4, 6, 6}, 9);
  const Outcome all = run(problem, StageOptions());
  const Stage stage(problem.functions, problem.depth, StageOptions());
  const auto context = stage.forward(problem.x, problem.parameters, copies(problem.buffers), problem.training);
  std::vector<int32_t> wanted(problem.parameters.size());
  for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = i % 3 == 0 ? 1 : 0;
  stage.backward(*context, problem.grad, wanted, {});
  const std::vector<Tensor> gradients = context->parameter_gradients();
  for (size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_EQ(gradients[i].defined(), wanted[i] != 0) << i;
    if (!gradients[i].defined()) continue;
    // Where states are exact, a bias before a normalization has the gradient 0: what it gets is rounding, of the size
    // of the other gradients', and on a GPU not the same every time (expect_same).
    const std::vector<double> expected = values(all.gradients[i]);
    const double size = on_cpu() ? norm(expected) : norm(values(all.gradients));
    EXPECT_LT(relative_error(values(gradients[i]), expected) * norm(expected), 1e-12 * size) << i;
  }
}

TEST(Gradients, AreAddedToGivenTensors) {
  const Problem problem = make_problem({tiny_function(4)}, 5, {2, 4, 6, 6}, 10);
  StageOptions options;
  options.reconstruction = ReconstructionKind::corrected;
  const Outcome all = run(problem, options);
  const Stage stage(problem.functions, problem.depth, options);
  const auto context = stage.forward(problem.x, problem.parameters, copies(problem.buffers), problem.training);
  std::vector<Tensor> into;
  for (const Tensor& p : problem.parameters) into.push_back(constant(Shape(p.sizes().begin(), p.sizes().end()), 2));
  into[1] = Tensor();
  stage.backward(*context, problem.grad, std::vector<int32_t>(into.size(), 1), into);
  for (size_t i = 0; i < into.size(); ++i) {
    const Tensor returned = context->parameter_gradients()[i];
    EXPECT_EQ(returned.defined(), i == 1);
    const std::vector<double> expected = values(all.gradients[i]);
    std::vector<double> found = values(i == 1 ? returned : into[i]);
    if (i != 1) {
      for (double& value : found) value -= 2;
    }
    EXPECT_LT(relative_error(found, expected), 1e-11) << i;
  }
}

// f_n(x) = a_n x with a_n of the outside, and a switch that makes it fail.
struct Outside {
  std::vector<double> a;
  std::vector<double> gradient;
  std::vector<std::pair<int64_t, Tensor>> tapes;
  Tensor result;
  bool fail = false;

  static int32_t evaluate(void* user, int64_t function, int64_t, int32_t evaluation, int64_t slot, void* handle,
                          void** out) {
    auto* self = static_cast<Outside*>(user);
    const Tensor x(static_cast<AtenTensorHandle>(handle));
    if (self->fail) return 1;
    const auto kind = static_cast<Evaluation>(evaluation);
    if (kind == Evaluation::tape || kind == Evaluation::forward_tape) self->tapes.emplace_back(slot, x);
    self->result =
        moved(constant(Shape(x.sizes().begin(), x.sizes().end()), 0), x, self->a[static_cast<size_t>(function)]);
    *out = self->result.get();
    return 0;
  }
  static int32_t vjp(void* user, int64_t function, int64_t slot, void* handle, void** out) {
    auto* self = static_cast<Outside*>(user);
    const Tensor cotangent(static_cast<AtenTensorHandle>(handle));
    for (auto it = self->tapes.rbegin(); it != self->tapes.rend(); ++it) {
      if (it->first != slot) continue;
      self->gradient[static_cast<size_t>(function)] += dot(values(it->second), values(cotangent));
      break;
    }
    self->result = moved(constant(Shape(cotangent.sizes().begin(), cotangent.sizes().end()), 0), cotangent,
                         self->a[static_cast<size_t>(function)]);
    *out = self->result.get();
    return 0;
  }
  static void drop(void* user, int64_t slot) {
    auto* self = static_cast<Outside*>(user);
    std::erase_if(self->tapes, [&](const auto& tape) { return tape.first == slot; });
  }
  CallbackTable table() {
    return {reinterpret_cast<void*>(&evaluate), reinterpret_cast<void*>(&vjp), reinterpret_cast<void*>(&drop), this};
  }
};

TEST(Callbacks, GiveTheGradientOfTheOutside) {
  const int64_t depth = 5;
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    Outside outside{{0.3, -0.2, 0.5, 0.1, 0.4}, std::vector<double>(5), {}, Tensor()};
    Generator generator(1);
    const Tensor x = normal({4, 3}, generator), grad = normal({4, 3}, generator);
    StageOptions options;
    options.reconstruction = plan.kind;
    options.count = plan.kind == ReconstructionKind::corrected || plan.kind == ReconstructionKind::adaptive ? 30 : 0;
    options.tolerance = 1e-12;
    const Stage stage(depth, options);
    const auto context = stage.forward(x, outside.table());
    double factor = 1;
    for (const double a : outside.a) factor *= 1 + a / 5;
    EXPECT_LT(relative_error(values(context->output()), values(moved(constant({4, 3}, 0), x, factor))), 1e-14);
    stage.backward(*context, grad, {}, {});
    EXPECT_LT(relative_error(values(context->input_gradient()), values(moved(constant({4, 3}, 0), grad, factor))),
              1e-14);
    EXPECT_TRUE(outside.tapes.empty()) << plan.name;
    if (plan.kind == ReconstructionKind::inverse || plan.kind == ReconstructionKind::extrapolated) continue;
    for (size_t n = 0; n < 5; ++n) {
      const double expected = dot(values(x), values(grad)) * factor / (1 + outside.a[n] / 5) / 5;
      EXPECT_NEAR(outside.gradient[n], expected, 1e-10) << plan.name << ", " << n;
    }
  }
}

// Two passes that are under way at once share the outside, which knows their tapes by slots.
TEST(Callbacks, PassesThatOverlapHaveSlotsOfTheirOwn) {
  Generator generator(1);
  const Tensor grad = normal({4, 3}, generator);
  const std::vector<Tensor> inputs{normal({4, 3}, generator), normal({4, 3}, generator)};
  StageOptions options;
  options.reconstruction = ReconstructionKind::backprop;
  Outside outside{{0.3, -0.2}, {0, 0}, {}, Tensor()};
  const Stage stage(2, options);
  std::vector<std::unique_ptr<StageContext>> contexts;
  for (const Tensor& x : inputs) contexts.push_back(stage.forward(x, outside.table()));
  for (size_t i = 0; i < 2; ++i) {
    outside.gradient = {0, 0};
    stage.backward(*contexts[i], grad, {}, {});
    for (size_t n = 0; n < 2; ++n) {
      const double other = 1 + outside.a[1 - n] / 2;
      EXPECT_NEAR(outside.gradient[n], dot(values(inputs[i]), values(grad)) * other / 2, 1e-12) << i << ", " << n;
    }
  }
  EXPECT_TRUE(outside.tapes.empty());
}

TEST(Callbacks, FailureLeavesTheStageUsable) {
  Outside outside{{0.1, 0.1}, {0, 0}, {}, Tensor()};
  Generator generator(1);
  const Tensor x = normal({2, 2}, generator);
  const Stage stage(2, StageOptions());
  outside.fail = true;
  EXPECT_THROW(stage.forward(x, outside.table()), CallbackError);
  outside.fail = false;
  const auto context = stage.forward(x, outside.table());
  outside.fail = true;
  EXPECT_THROW(stage.backward(*context, x, {}, {}), CallbackError);
  EXPECT_TRUE(outside.tapes.empty());
  outside.fail = false;
  const auto again = stage.forward(x, outside.table());
  EXPECT_NO_THROW(stage.backward(*again, x, {}, {}));
}

TEST(Callbacks, HaveNoGradientsToTellOf) {
  Outside outside{{0.1, 0.1}, {0, 0}, {}, Tensor()};
  Generator generator(1);
  const Tensor x = normal({2, 2}, generator);
  const Stage stage(2, StageOptions());
  const auto context = stage.forward(x, outside.table());
  GradientListener listener;
  listener.ready = &outside;
  expect_error([&] { stage.backward(*context, x, {}, {}, true, listener); },
               "listener is given, but external functions keep the gradients of their parameters");
  EXPECT_NO_THROW(stage.backward(*context, x, {}, {}));
}

TEST(Errors, NameTheArgumentAndWhatWasExpected) {
  const Problem p = make_problem({tiny_function(4)}, 2, {2, 4, 6, 6}, 12);
  StageOptions options;
  const Stage stage(p.functions, 2, options);
  Generator generator(1);
  const auto forward = [&](const Tensor& x, const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers) {
    return [&stage, &p, x, parameters, buffers] { stage.forward(x, parameters, buffers, p.training); };
  };
  expect_error(forward(Tensor(), p.parameters, p.buffers), "x is undefined");
  expect_error(forward(normal({2, 5, 6, 6}, generator), p.parameters, p.buffers),
               "input is [2, 5, 6, 6], expected [B, 4, H, W]");
  expect_error(forward(p.x, {}, p.buffers), "parameters has 0 tensors, expected 8");
  std::vector<Tensor> wrong = p.parameters;
  wrong[0] = normal({4, 4, 1, 1}, generator);
  expect_error(forward(p.x, wrong, p.buffers),
               "parameters[0] (function 0, layer 0) is [4, 4, 1, 1], expected [4, 4, 3, 3]");
  wrong[0] = torch::stable::to(p.parameters[0], ScalarType::Float);
  expect_error(forward(p.x, wrong, p.buffers), "is float32, expected float64 like x");
  wrong[0] = Tensor();
  expect_error(forward(p.x, wrong, p.buffers), "is undefined");
  expect_error([&] { Stage(p.functions, 0, options); }, "depth is 0");
  expect_error([&] { Stage(std::vector<FunctionSpec>(), 2, options); }, "functions is empty");
  expect_error([&] { Stage({p.functions[0], p.functions[0]}, 3, options); }, "expected 1 or the depth 3");
  expect_error([&] { Stage(2, options).evaluate(p.x, CallbackTable()); }, "callbacks.evaluate is null");
  expect_error([&] { Stage({FunctionSpec{{conv(0, 4)}}}, 2, options); }, "in_features is 0");
  StageOptions heun;
  heun.solver = "heun";
  expect_error([&] { Stage(p.functions, 1, heun); }, "at least 2 with the solver heun");
  StageOptions bad;
  bad.tolerance = 0;
  expect_error([&] { Stage(p.functions, 2, bad); }, "tolerance");
  StageOptions graphs;
  graphs.cuda_graphs = true;
  expect_error([&] { Stage(p.functions, 2, graphs).evaluate(on_host(p.x), p.parameters, p.buffers, p.training); },
               "cuda_graphs needs CUDA tensors, x is on cpu");
  Outside outside;
  expect_error([&] { Stage(2, graphs); }, "cuda_graphs needs native layers");
  const Stage narrowing({FunctionSpec{{conv(4, 3)}}}, 2, options);
  const Problem narrow = make_problem({FunctionSpec{{conv(4, 3)}}}, 2, {2, 4, 6, 6}, 12);
  expect_error([&] { narrowing.forward(narrow.x, narrow.parameters, {}, narrow.training); },
               "gives [2, 3, 6, 6], expected [2, 4, 6, 6]");
}

TEST(Errors, BackwardRefusesASecondPassAndAWrongCotangent) {
  const Problem p = make_problem({tiny_function(4)}, 2, {2, 4, 6, 6}, 12);
  const Stage stage(p.functions, 2, StageOptions());
  const std::vector<int32_t> wanted(p.parameters.size(), 1);
  Generator generator(1);
  const auto context = stage.forward(p.x, p.parameters, copies(p.buffers), p.training);
  expect_error([&] { context->input_gradient(); }, "no backward pass has run");
  expect_error(
      [&] {
        stage.backward(*context, normal({2, 4, 6, 5}, generator), wanted, {});
      },
      "grad_output is [2, 4, 6, 5], expected [2, 4, 6, 6]");
  expect_error([&] { stage.backward(*context, p.grad, {}, {}); }, "wanted has 0 entries");
  stage.backward(*context, p.grad, wanted, {});
  expect_error([&] { stage.backward(*context, p.grad, wanted, {}); }, "second backward pass");
}

TEST(Runtime, CountsLiveObjectsAndNamesItsKernels) {
  const int64_t before = live_objects();
  {
    const Stage stage({tiny_function(4)}, 2, StageOptions());
    EXPECT_EQ(live_objects(), before + 1);
  }
  EXPECT_EQ(live_objects(), before);
  EXPECT_EQ(kernel_paths().back(), "portable");
  const char* forced = std::getenv("RESNET_NODES_KERNELS");
  EXPECT_EQ(active_kernel_path(), forced != nullptr ? forced : kernel_paths().front());
  EXPECT_FALSE(version().empty());
}

}  // namespace
}  // namespace resnet_nodes
