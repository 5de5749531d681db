// solver_test.cpp: solvers against steps written out by hand, and against what their table says of them.
#include <map>

#include "functions/layer_functions.h"
#include "resnet_nodes/error.h"
#include "truth.h"
#include "walk/solver/runge_kutta.h"

namespace resnet_nodes {
namespace {

using namespace truth;

using Vector = std::vector<double>;
using Function = std::function<Vector(int64_t n, const Vector& x)>;

Vector plus(Vector x, double a, const Vector& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += a * y[i];
  return x;
}

struct Row {
  std::function<Vector(const Function& f, int64_t n, const Vector& x, double h)> step;
  int64_t functions;  // of neighbouring n that a step evaluates
};

// One row a solver: its step, as its formula has it.
const std::map<std::string, Row>& rows() {
  static const std::map<std::string, Row> table{
      {"euler", {[](const Function& f, int64_t n, const Vector& x, double h) { return plus(x, h, f(n, x)); }, 1}},
      {"heun",
       {[](const Function& f, int64_t n, const Vector& x, double h) {
          const Vector k = f(n, x);
          return plus(plus(x, h / 2, k), h / 2, f(n + 1, plus(x, h, k)));
        },
        2}},
      {"midpoint",
       {[](const Function& f, int64_t n, const Vector& x, double h) {
          return plus(x, h, f(n, plus(x, h / 2, f(n, x))));
        },
        1}},
  };
  return table;
}

// f_n(x) = tanh(x W_n) by plain loops; W_n is [in][out].
Function plain_function(const Problem& problem, int64_t width) {
  return [&problem, width](int64_t n, const Vector& x) {
    // A Linear's weight is [out][in].
    const Vector weight = values(problem.parameters[static_cast<size_t>(n)]);
    Vector result(x.size());
    const auto w = static_cast<size_t>(width);
    for (size_t row = 0; row < x.size() / w; ++row) {
      for (size_t o = 0; o < w; ++o) {
        double sum = 0;
        for (size_t i = 0; i < w; ++i) sum += x[row * w + i] * weight[o * w + i];
        result[row * w + o] = std::tanh(sum);
      }
    }
    return result;
  };
}

Problem tanh_layers(int64_t depth, int64_t width) {
  const FunctionSpec function{{linear(width, width, false), activation(LayerKind::tanh)}};
  return make_problem(std::vector<FunctionSpec>(static_cast<size_t>(depth), function), depth, {3, width}, 7);
}

class Solvers : public testing::TestWithParam<std::string> {};

TEST_P(Solvers, StepIsTheirFormulas) {
  const auto found = rows().find(GetParam());
  ASSERT_NE(found, rows().end()) << GetParam() << " has no row";
  const int64_t depth = 5, width = 4, steps = depth - found->second.functions + 1;
  ASSERT_EQ(step_count(GetParam(), depth), steps);
  const Problem problem = tanh_layers(depth, width);
  const Function f = plain_function(problem, width);
  Vector x = values(problem.x);
  for (int64_t n = 0; n < steps; ++n) x = found->second.step(f, n, x, 1.0 / static_cast<double>(depth));
  StageOptions options;
  options.solver = GetParam();
  const Stage stage(problem.functions, depth, options);
  EXPECT_LT(relative_error(values(stage.evaluate(problem.x, problem.parameters, {}, problem.training)), x), 1e-14);
}

// x' = A x over one unit of time with a constant function, whose solution at the same h with more steps is the limit.
TEST_P(Solvers, ForwardPassHasItsOrder) {
  const auto at = [&](int64_t depth) {
    Problem problem =
        make_problem({FunctionSpec{{linear(3, 3, false), activation(LayerKind::tanh)}}}, depth, {2, 3}, 5);
    StageOptions options;
    options.solver = GetParam();
    const int64_t steps = step_count(GetParam(), depth);
    options.step_size = 1.0 / static_cast<double>(steps);
    return values(
        Stage(problem.functions, depth, options).evaluate(problem.x, problem.parameters, {}, problem.training));
  };
  const Vector truth = at(4096);
  std::vector<double> depths, errors;
  for (const int64_t depth : {16, 32, 64}) {
    depths.push_back(static_cast<double>(step_count(GetParam(), depth)));
    errors.push_back(relative_error(at(depth), truth));
  }
  const double order = static_cast<double>(find_solver(GetParam()).plan().order);
  EXPECT_NEAR(fitted_slope(depths, errors), -order, 0.15) << errors[0] << " ... " << errors[2];
}

// The gradient of `inverse` on weights from a smooth curve in depth.
TEST_P(Solvers, InverseHasItsOrder) {
  std::vector<double> depths, errors;
  for (const int64_t depth : {32, 64, 128, 256}) {
    Problem problem = tanh_layers(depth, 6);
    const Problem ends = tanh_layers(2, 6);
    for (int64_t n = 0; n < depth; ++n) {
      const double t = static_cast<double>(n) / static_cast<double>(depth);
      problem.parameters[static_cast<size_t>(n)] = moved(ends.parameters[0], ends.parameters[1], std::sin(2 * t));
    }
    StageOptions options;
    options.solver = GetParam();
    options.reconstruction = ReconstructionKind::backprop;
    const std::vector<double> truth = values(run(problem, options).gradients);
    options.reconstruction = ReconstructionKind::inverse;
    depths.push_back(static_cast<double>(depth));
    errors.push_back(relative_error(values(run(problem, options).gradients), truth));
  }
  const double order = static_cast<double>(find_solver(GetParam()).plan().inverse_order);
  EXPECT_NEAR(fitted_slope(depths, errors), -order, 0.2) << errors[0] << " ... " << errors[3];
}

TEST_P(Solvers, UsesAreCounted) {
  ASSERT_TRUE(rows().contains(GetParam())) << GetParam() << " has no row";
  std::vector<int64_t> counts(6, 0);
  const Function counting = [&](int64_t n, const Vector& x) {
    ++counts[static_cast<size_t>(n)];
    return x;
  };
  for (int64_t n = 0; n < step_count(GetParam(), 6); ++n) rows().at(GetParam()).step(counting, n, {1.0}, 0.1);
  EXPECT_EQ(use_counts(GetParam(), 6), counts);
}

INSTANTIATE_TEST_SUITE_P(All, Solvers, testing::ValuesIn(solver_names()), [](const auto& info) { return info.param; });

// One function a step keeps the reverse step exact where neighbouring functions have nothing in common.
TEST(Midpoint, InverseIsFarMoreExactThanEulersOnRoughWeights) {
  Problem problem = tanh_layers(16, 16);
  for (Tensor& weight : problem.parameters) weight = moved(weight, weight, -0.5);
  const auto error = [&](const char* solver) {
    StageOptions options;
    options.solver = solver;
    options.reconstruction = ReconstructionKind::backprop;
    const std::vector<double> truth = values(run(problem, options).gradients);
    options.reconstruction = ReconstructionKind::inverse;
    return relative_error(values(run(problem, options).gradients), truth);
  };
  EXPECT_LT(error("midpoint"), error("euler") / 100) << error("midpoint") << " and " << error("euler");
}

TEST(SolverTable, RefusesWhatIsNoSolver) {
  try {
    find_solver("none");
    FAIL() << "a solver of that name";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find("solver is none, expected one of "), 0u) << message;
    for (const std::string& name : solver_names()) EXPECT_NE(message.find(name), std::string::npos) << message;
  }
  EXPECT_THROW(RungeKutta({"short", "", 1, 1, {0, 0}, {}, {0, 1}}), Error);
  EXPECT_THROW(RungeKutta({"unused", "", 1, 1, {0, 0}, {1}, {1, 0}}), Error);
}

// Tableaus of more stages, against central differences: Kutta's third order method, and one over three functions.
TEST(RungeKutta, ProductIsTheDerivativeOfAnyTableau) {
  const RungeKutta kutta({"kutta", "", 3, 4, {0, 0, 0}, {0.5, -1, 2}, {1.0 / 6, 4.0 / 6, 1.0 / 6}});
  const RungeKutta spread({"spread", "", 1, 1, {0, 1, 2}, {0.5, 0, 0.75}, {2.0 / 9, 3.0 / 9, 4.0 / 9}});
  for (const RungeKutta* solver : {&kutta, &spread}) {
    const Problem problem = tanh_layers(3, 4);
    const double h = 0.3;
    const auto table = std::make_shared<LayerTable>(problem.functions, 3);
    const auto bound = [&] {
      return LayerFunctions(table, std::make_shared<Workspaces>(), problem.parameters, {}, {}, 9, 0);
    };
    LayerFunctions functions = bound();
    functions.want_gradients({1, 1, 1}, {}, true);
    StepTape tape = solver->make_tape(functions);
    const Tensor slope = solver->slope(functions, 0, problem.x, h, &tape);
    EXPECT_LT(
        relative_error(values(moved(problem.x, slope, h)), values(solver->step(functions, 0, problem.x, h, nullptr))),
        1e-14);
    const std::vector<double> found = values(solver->vjp(functions, 0, tape, problem.grad, h));
    Generator generator(3);
    const Tensor direction = normal({3, 4}, generator);
    const auto loss = [&](double e) {
      LayerFunctions fresh = bound();
      return dot(values(solver->step(fresh, 0, moved(problem.x, direction, e), h, nullptr)), values(problem.grad));
    };
    const double epsilon = 1e-5, expected = (loss(epsilon) - loss(-epsilon)) / (2 * epsilon);
    EXPECT_NEAR(dot(found, values(direction)), expected, 1e-8 * std::abs(expected) + 1e-9) << solver->plan().name;
  }
}

}  // namespace
}  // namespace resnet_nodes
