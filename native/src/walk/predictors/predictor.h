// predictor.h: ways to foresee the state before a step.
#pragma once

#include <memory>
#include <vector>

#include "walk/adaptive/learned.h"
#include "walk/states/known_states.h"

namespace resnet_nodes {

/// x_n, foreseen or known.
struct Prediction {
  Tensor state;  ///< undefined where only its tape is left
  StateSource source = StateSource::found;
  int64_t iterations = 0;    ///< of the fixed point from y, where it comes from that
  StepTape* tape = nullptr;  ///< of an evaluation there; null: that is to come
};

/// What a step of the walk found, for predictors that learn from it.
struct FoundStep {
  int64_t n;
  bool known;           ///< whether its state was known, not predicted
  const Tensor& y;      ///< the state after the step
  const Tensor& state;  ///< the state before it
  const Tensor& slope;  ///< the last slope
  double residual;      ///< of the prediction, before any iteration
  double increment;     ///< norm of the step's increment
};

/// A way to foresee x_n from y = x_{n+1}.
class Predictor {
 public:
  virtual ~Predictor() = default;
  virtual Prediction predict(const Recursion& recursion, int64_t n, const Tensor& y) = 0;
  /// Evaluations of residual functions spent by predict so far, replays aside.
  virtual int64_t evaluations() const = 0;
  /// Called after each step.
  virtual void observe(const Recursion& recursion, const FoundStep& found) = 0;
  /// Whether predictions of steps below n may use what is observed of it.
  virtual bool learns_from(int64_t) const { return true; }
  /// Whether observe keeps slopes, which then must not be written over.
  virtual bool keeps_slopes() const { return false; }
  /// Whether the prediction of step n costs no evaluation.
  virtual bool is_free(int64_t) const { return false; }
  /// How far what would have been predicted in the place of a known state is off, relative to that; -1: nobody looked,
  /// or the figure is on its way.
  virtual double looked() const { return -1; }
};

/// What the predictor of one walk is made of.
struct WalkInputs {
  const Recursion& recursion;
  KnownStates& known;
  const Choices& choices;  ///< adaptive's; empty for others
  const Tensor& norms;     ///< rows of learned.h; undefined where figures are there at once
};

/// Tapes replayed segment by segment from stored states.
std::unique_ptr<Predictor> replaying_predictor(const WalkInputs& inputs);
/// x~ <- y - Phi(x~), `iterations` times from x~ = y.
std::unique_ptr<Predictor> fixed_point_predictor(int64_t iterations);
/// The solver's own reverse step.
std::unique_ptr<Predictor> undo_predictor();
/// y less the increment foreseen from the last `order`; a fixed point of `order` iterations while there are fewer.
std::unique_ptr<Predictor> extrapolation_predictor(int64_t order);
/// adaptive's: known states where its choices want one, or where one costs no more; else what extrapolates where that
/// holds, and iterates once where it does not. Looks if steps that want a known state still need it.
std::unique_ptr<Predictor> adaptive_predictor(const WalkInputs& inputs);

// The parts of adaptive's.
/// Extrapolates unless that has lately been far off; else a fixed point of one iteration.
std::unique_ptr<Predictor> distrustful_extrapolation_predictor(int64_t order);
/// Does what the choices say, and looks whether extrapolation would do where they are due for it.
std::unique_ptr<Predictor> chosen_predictor(const WalkInputs& inputs);

}  // namespace resnet_nodes
