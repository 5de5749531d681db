// solvers.cpp: the table of solvers. A new one is a row here, and a row of tests/native/solver_test.cpp.
#include <algorithm>

#include "resnet_nodes/error.h"
#include "walk/solver/runge_kutta.h"

namespace resnet_nodes {
namespace {

const std::vector<RungeKutta>& solvers() {
  static const std::vector<RungeKutta> table = [] {
    std::vector<RungeKutta> all;
    for (const SolverPlan& plan : solver_plans()) all.emplace_back(plan);
    return all;
  }();
  return table;
}

}  // namespace

std::vector<SolverPlan> solver_plans() {
  // Name, step, orders of the forward pass and of `inverse`; functions, a and b.
  return {
      // A ResNet (arXiv 2205.14612, equation 1).
      {"euler", "x' = x + h f_n(x): a ResNet", 1, 1, {0}, {}, {1}},
      // A HeunNet (section 4); the paper proves order 2 for its inverse.
      {"heun", "k = f_n(x), x' = x + h/2 (k + f_{n+1}(x + h k)): a HeunNet", 2, 3, {0, 1}, {1}, {0.5, 0.5}},
      // One function a step: the adjoint stays exact where weights are rough in depth.
      {"midpoint", "x' = x + h f_n(x + h/2 f_n(x))", 2, 3, {0, 0}, {0.5}, {0, 1}},
  };
}

const RungeKutta& find_solver(const std::string& name) {
  std::string names;
  for (const RungeKutta& solver : solvers()) {
    if (solver.plan().name == name) return solver;
    names += (names.empty() ? "" : ", ") + solver.plan().name;
  }
  throw Error("solver is " + name + ", expected one of " + names);
}

int64_t step_count(const std::string& solver, int64_t depth) { return find_solver(solver).steps(depth); }

std::vector<int64_t> use_counts(const std::string& solver, int64_t depth) {
  const RungeKutta& method = find_solver(solver);
  const int64_t steps = method.steps(depth);
  std::vector<int64_t> counts(static_cast<size_t>(depth), 0);
  for (int64_t n = 0; n < steps; ++n) {
    for (size_t i = 0; i < static_cast<size_t>(method.evaluations_per_step()); ++i) {
      ++counts[static_cast<size_t>(method.use(n, i).function)];
    }
  }
  return counts;
}

}  // namespace resnet_nodes
