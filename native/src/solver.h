// solver.h: one step of a solver, and its vector-Jacobian product. A step's increment is Phi_n(x) = h slope_n(x).
#pragma once

#include <array>
#include <memory>

#include "residual_function.h"
#include "resnet_nodes/stage.h"

namespace resnet_nodes {

/// The tapes of one step: as many as the solver evaluates functions.
using StepTape = std::array<std::unique_ptr<Tape>, 2>;

class SolverMethod {
 public:
  virtual ~SolverMethod() = default;
  /// Steps that `depth` functions make. Throws Error where they are too few.
  virtual int64_t steps(int64_t depth) const = 0;
  virtual int64_t evaluations_per_step() const = 0;
  virtual StepTape make_tape(ResidualFunctions& functions) const = 0;
  /// x_{n+1} in the forward pass. `tape` may be null.
  virtual Tensor step(ResidualFunctions& functions, int64_t n, const Tensor& x, double h, StepTape* tape) const = 0;
  /// The slope at x on the way back. `tape` may be null.
  virtual Tensor slope(ResidualFunctions& functions, int64_t n, const Tensor& x, double h, StepTape* tape) const = 0;
  /// y - Phi(x): one iteration of the fixed point.
  virtual Tensor refine(ResidualFunctions& functions, int64_t n, const Tensor& y, const Tensor& x, double h) const;
  /// y - Phi(predicted) and how far that is from `predicted`, with the tape of the slope there. `cotangent`: what vjp
  /// will be called with.
  virtual Corrected correct(ResidualFunctions& functions, int64_t n, const Tensor& y, const Tensor& predicted, double h,
                            bool keep_slope, const Tensor& cotangent, StepTape& tape) const;
  /// The solver's own reverse step: an approximation of x_n from y = x_{n+1}.
  virtual Tensor undo(ResidualFunctions& functions, int64_t n, const Tensor& y, double h) const = 0;
  /// dL/dx_n from dL/dx_{n+1} at the state of the tape, which it uses up.
  virtual Tensor vjp(ResidualFunctions& functions, int64_t n, StepTape& tape, const Tensor& grad, double h) const = 0;
};

const SolverMethod& solver_method(Solver solver);
const SolverMethod& euler();
const SolverMethod& heun();

}  // namespace resnet_nodes
