// solver.cpp: what any solver does by its slope, and the table of solvers.
#include "solver.h"

#include "resnet_nodes/error.h"

namespace resnet_nodes {

Tensor SolverMethod::refine(ResidualFunctions& functions, int64_t n, const Tensor& y, const Tensor& x, double h) const {
  return functions.moved(y, slope(functions, n, x, h, nullptr), -h);
}

Corrected SolverMethod::correct(ResidualFunctions& functions, int64_t n, const Tensor& y, const Tensor& predicted,
                                double h, bool keep_slope, const Tensor&, StepTape& tape) const {
  return functions.corrected(y, slope(functions, n, predicted, h, &tape), predicted, h, keep_slope);
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
