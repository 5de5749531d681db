// estimate.h: how far the states of a way back are from those of the forward pass.
#pragma once

#include <cstdint>

#include "kernels/step_norms.h"

namespace resnet_nodes {

/// From sums of squares: |difference| / |reference|; infinity where only the reference is 0.
double relative_error(double difference, double reference);

/// The error of the states of one walk, estimated step by step (docs/reconstructions.md, "The error").
///
/// With e the error of x_{n+1} and r what the fixed point of step n leaves, x~ is off by r / (1 - q), q being the
/// contraction of that fixed point, and by e / sqrt(1 - q^2): errors of different steps point in directions of their
/// own, so that squares add up. The state after the correction is off by q times the first.
class ErrorEstimate {
 public:
  /// `unit`: the rounding unit of states.
  explicit ErrorEstimate(double unit) : unit_(unit) {}

  /// The contraction q that a prediction after `iterations` iterations from y shows; 0 where what is left is rounding.
  double contraction(const StepNorms& found, int64_t iterations) const;
  /// The same from two evaluations, one iteration apart.
  double contraction(const StepNorms& before, const StepNorms& found) const;

  /// Relative error of x~, where `found` is the correction there.
  double at(const StepNorms& found, double q) const;
  /// Iterations after which it is below the tolerance; -1 where no number of them helps.
  int64_t missing(const StepNorms& found, double q, double tolerance) const;

  /// Goes on with the corrected state.
  void carry(const StepNorms& found, double q);
  /// Goes on with the very x_n.
  void know() { carried_ = 0; }

 private:
  bool is_rounding(const StepNorms& found) const;
  double rounding(double state) const;
  double carried(double q) const;

  double unit_;
  double carried_ = 0;  // e^2
};

}  // namespace resnet_nodes
