// predictor.h: ways to foresee the state before a step.
#pragma once

#include <memory>
#include <vector>

#include "walk/adaptive/learned.h"
#include "walk/solver/recursion.h"

namespace resnet_nodes {

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
/// y less the increment foreseen from the last `order`; a fixed point of `order` iterations while there are fewer.
std::unique_ptr<Predictor> extrapolation_predictor(int64_t order);
/// The same for adaptive: a fixed point of one iteration, also while the foreseen increments have lately been far off.
std::unique_ptr<Predictor> distrustful_extrapolation_predictor(int64_t order);
/// Does what the choices say, and looks whether extrapolation would do where they are due for it: the figures of that
/// go into `norms`.
std::unique_ptr<Predictor> chosen_predictor(std::vector<StepChoice> choices, const Tensor& norms);

}  // namespace resnet_nodes
