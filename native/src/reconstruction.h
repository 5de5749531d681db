// reconstruction.h: the walk back through a stage: predict the state, evaluate with tape, take the product, update.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "solver.h"
#include "steps.h"

namespace resnet_nodes {

/// What the walk back goes through: `steps` steps of size h.
struct Recursion {
  const SolverMethod& solver;
  ResidualFunctions& functions;
  int64_t steps;
  double h;
};

/// What a step of the walk found, for predictors that learn from it.
struct FoundStep {
  const Tensor& y;      ///< the state after the step
  const Tensor& state;  ///< the reconstructed state before it
  const Tensor& slope;  ///< the last slope
  double residual;      ///< of the prediction, before any iteration
  double increment;     ///< norm of the step's increment
};

/// A way to foresee x_n from y = x_{n+1}.
class Predictor {
 public:
  virtual ~Predictor() = default;
  virtual Tensor predict(const Recursion& recursion, int64_t n, const Tensor& y) = 0;
  /// Evaluations of residual functions spent by predict so far.
  virtual int64_t evaluations() const = 0;
  /// Called after each step.
  virtual void observe(const Recursion& recursion, const FoundStep& found) = 0;
  /// Whether observe keeps slopes, which then must not be written over.
  virtual bool keeps_slopes() const = 0;
  /// Whether the state before step n is the prediction itself, because correcting it would lead away.
  virtual bool keeps_state(int64_t) const { return false; }
};

/// x~ <- y - Phi(x~), `iterations` times from x~ = y.
std::unique_ptr<Predictor> fixed_point_predictor(int64_t iterations);
/// The solver's own reverse step.
std::unique_ptr<Predictor> undo_predictor();
/// y less the increment foreseen from the last `order`; a fixed point of `order` iterations while there are fewer. With
/// `distrust`, of one iteration, and also while the foreseen increments have lately been far off.
std::unique_ptr<Predictor> extrapolation_predictor(int64_t order, bool distrust);

/// A reconstruction: predictor x update x stop.
struct WalkPlan {
  std::unique_ptr<Predictor> predictor;
  bool correct = true;     ///< update: y <- y - Phi(x~); otherwise y <- x~
  double tolerance = 0;    ///< iterate while the residual is above; 0: never
  int64_t iterations = 0;  ///< at most so many
  /// Where it is defined, norms stay on the device, in the rows of delayed.h, and decide nothing in this walk.
  Tensor norms;
};

/// The plan of a kind that reconstructs; nullptr predictor for those that store. Throws Error on a bad option.
WalkPlan make_plan(const StageOptions& options);
/// The distance of 1 and the next number of x's dtype.
double rounding_unit(const Tensor& x);
/// From sums of squares: |x~ - out| / |increment|; infinity where only the increment is 0.
double relative_residual(double difference, double increment);
/// From sums of squares: whether a state of this rounding unit can't be found any better, as where an increment is
/// nearly 0.
bool is_rounding(double difference, double state, double unit);
/// Throws Error where an option is out of its range.
void check_options(const StageOptions& options);

/// The cotangent and state that arrive at x_0, and the report.
struct WalkResult {
  Tensor grad;
  Tensor state;
  StageReport report;
};

/// Goes back from x_N by reconstruction.
WalkResult walk_back(WalkPlan plan, const Recursion& recursion, const Tensor& output, const Tensor& grad);

/// What the stored methods keep.
struct StoredStates {
  std::vector<StepTape> tapes;  ///< backprop: of every step
  std::vector<Tensor> states;   ///< checkpoint: of every `every`-th step
  int64_t every = 1;
  bool kept = false;  ///< the way back leaves them for another one
};
/// Goes back through stored tapes, or replays segment by segment from stored states.
WalkResult walk_back_stored(StoredStates& stored, const Recursion& recursion, const Tensor& grad);

}  // namespace resnet_nodes
