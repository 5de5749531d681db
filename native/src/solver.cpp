// solver.cpp: what any solver does by its slope, and the table of solvers.
#include "solver.h"

#include "resnet_nodes/error.h"
#include "steps.h"

namespace resnet_nodes {

Tensor SolverMethod::refine(ResidualFunctions& functions, int64_t n, const Tensor& y, const Tensor& x, double h) const {
  const Tensor f = slope(functions, n, x, h, nullptr);
  return add_scaled(y, f, -h, functions.results_are_fresh() ? f : Tensor());
}

Corrected SolverMethod::correct(ResidualFunctions& functions, int64_t n, const Tensor& y, const Tensor& predicted,
                                double h, bool keep_slope, const Tensor&, StepTape& tape) const {
  Corrected result;
  const Tensor f = slope(functions, n, predicted, h, &tape);
  const bool overwrite = functions.results_are_fresh() && !keep_slope;
  result.state = resnet_nodes::correct(y, f, predicted, h, result.norms, overwrite ? f : Tensor());
  if (keep_slope) result.slope = f;
  return result;
}

const SolverMethod& solver_method(Solver solver) {
  switch (solver) {
    case Solver::euler:
      return euler();
    case Solver::heun:
      return heun();
  }
  throw Error("solver " + std::to_string(static_cast<int>(solver)) + " is unknown, expected euler or heun");
}

}  // namespace resnet_nodes
