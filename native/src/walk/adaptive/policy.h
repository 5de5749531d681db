// policy.h: what `adaptive` decides, and from which figures. It decides at once where they are on the host (settle.h),
// and for the next pass where they arrive late (learned.h).
#pragma once

#include <cstdint>

#include "tensors/norms.h"

namespace resnet_nodes {

/// From sums of squares: |x~ - out| / |increment|; infinity where only the increment is 0.
double relative_residual(double difference, double increment);
/// From sums of squares: whether a state of this rounding unit can't be found any better, as where an increment is
/// nearly 0.
bool is_rounding(double difference, double state, double unit);

/// When a step is found, when an iteration helps, and when a prediction is worth its place.
struct AdaptivePolicy {
  double tolerance = 0;    ///< of the residual
  int64_t iterations = 0;  ///< beyond the first prediction, at most

  /// Iterations where the caller does not say.
  static constexpr int64_t kIterations = 6;
  /// Increments that a prediction is made from.
  static constexpr int64_t kOrder = 2;
  /// Steps, or passes, after which what was given up is looked at again.
  static constexpr int64_t kLookAgain = 8;

  /// Whether the step is found.
  bool settles(double residual) const { return residual <= tolerance; }
  /// Whether the fixed point repels, h Lip(Phi) >= 1, from sums of squares: an iteration that moved x~ by `moved` and
  /// led no nearer than `difference` led away, and so does the corrected update. (The residual does not say so: where
  /// states grow, increments grow along.)
  static bool repels(double difference, double moved) { return !(difference < moved); }
  /// Whether a prediction that is `off` is a better start than y, which is off by the increment, after one evaluation.
  static bool is_worthwhile(double off, double increment) { return off < 0.5 * increment; }
  /// Whether a step that needed `count` iterations would settle with one less.
  bool one_less_settles(double residual, int64_t count) const;
};

}  // namespace resnet_nodes
