// runge_kutta.h: one step of a solver, its reverse and its vector-Jacobian product, derived from the solver's tableau.
// A step's increment is Phi_n(x) = h slope_n(x).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "functions/residual_functions.h"
#include "resnet_nodes/options.h"

namespace resnet_nodes {

/// The tapes of one step: one for each function that it evaluates.
using StepTape = std::vector<std::unique_ptr<Tape>>;

/// An explicit Runge-Kutta method (SolverPlan). Evaluation i of step n has the number s n + i (Use::index): each has
/// statistics and random numbers of its own, also where two steps share a function.
class RungeKutta {
 public:
  /// Throws Error where the tableau is none of an explicit method.
  explicit RungeKutta(SolverPlan plan);

  const SolverPlan& plan() const { return plan_; }
  int64_t evaluations_per_step() const { return static_cast<int64_t>(stages_); }
  /// Steps that `depth` functions make. Throws Error where they are too few.
  int64_t steps(int64_t depth) const;
  /// Which function stage i of step n evaluates, and as which evaluation of the pass.
  Use use(int64_t n, size_t stage) const;

  /// The functions whose last product, on the way back, is one of step n: no earlier step evaluates them. The last one
  /// comes first.
  std::vector<int64_t> last_products(int64_t n) const;

  StepTape make_tape(ResidualFunctions& functions) const;
  /// x_{n+1} in the forward pass. `tape` may be null.
  Tensor step(ResidualFunctions& functions, int64_t n, const Tensor& x, double h, StepTape* tape) const;
  /// x_{n+1} again, on the way back.
  Tensor replay(ResidualFunctions& functions, int64_t n, const Tensor& x, double h) const;
  /// The slope at x on the way back. `tape` may be null.
  Tensor slope(ResidualFunctions& functions, int64_t n, const Tensor& x, double h, StepTape* tape) const;
  /// y - Phi(x): one iteration of the fixed point.
  Tensor refine(ResidualFunctions& functions, int64_t n, const Tensor& y, const Tensor& x, double h) const;
  /// y - Phi(predicted) and how far that is from `predicted`, with the tape of the slope there. `cotangent`: what vjp
  /// will be called with.
  Corrected correct(ResidualFunctions& functions, int64_t n, const Tensor& y, const Tensor& predicted, double h,
                    bool keep_slope, const Tensor& cotangent, StepTape& tape) const;
  /// The method's reverse step, which approximates x_n from y = x_{n+1}: the same tableau with -h. Each of its stages
  /// evaluates the function that the step has evaluated nearest to its place in time.
  Tensor undo(ResidualFunctions& functions, int64_t n, const Tensor& y, double h) const;
  /// dL/dx_n from dL/dx_{n+1} at the state of the tape, which it uses up.
  Tensor vjp(ResidualFunctions& functions, int64_t n, StepTape& tape, const Tensor& grad, double h) const;

 private:
  using Slopes = std::vector<Tensor>;

  double a(size_t stage, size_t earlier) const { return plan_.a[stage * (stage - 1) / 2 + earlier]; }
  /// Where stage i evaluates its function: x + h sum_j a_ij k_j.
  Tensor place(size_t stage, const Tensor& x, const Slopes& k, double h) const;
  /// x + h sum_i b_i k_i. `fresh`: whether slopes may be written over.
  Tensor combined(const Tensor& x, const Slopes& k, double h, bool fresh) const;
  /// Slopes of all stages on the way back, but for the last one where it alone has a weight.
  Slopes replayed(ResidualFunctions& functions, int64_t n, const Tensor& x, double h, StepTape* tape) const;

  SolverPlan plan_;
  size_t stages_;
  /// Whether the last stage alone has a weight: its evaluation and the combination then go in one pass.
  bool ends_in_last_;
  std::vector<size_t>
      mirrored_;  ///< for each stage of the reverse step, the stage of the step whose evaluation it repeats
};

/// The solver of this name. Throws Error naming those that there are.
const RungeKutta& find_solver(const std::string& name);

}  // namespace resnet_nodes
