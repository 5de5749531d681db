// settle.h: adaptive where the figures of an evaluation are there at once: iterates a step until it is found.
#pragma once

#include <optional>

#include "tensors/sample.h"
#include "walk/adaptive/estimate.h"
#include "walk/adaptive/policy.h"
#include "walk/solver/recursion.h"

namespace resnet_nodes {

/// A step of the walk: y = x_{n+1}, the cotangent there and a sample of x_n are known, x_n is to be found.
struct StepBack {
  const Recursion& recursion;
  int64_t n;
  const Tensor& y;
  const Tensor& cotangent;
  bool keep_slope;                        ///< whether the last slope is wanted
  StepTape& tape;                         ///< written by the last evaluation
  const std::optional<Samples>& samples;  ///< of x_n; none for methods that know of none

  /// y - Phi(x) and how far that is from x, with the tape there. Counts the evaluation.
  Corrected correct(const Tensor& x);
  /// Relative error of x where the sample shows it; 0 where there is none.
  double seen_error(const Tensor& x) const;

  int64_t evaluations = 0;  ///< of functions so far
};

/// What was found of a step.
struct SettledStep {
  Tensor predicted;       ///< where the tape was written and the gradient is to be taken
  Corrected found;        ///< its state: that before the step
  double first_residual;  ///< of the prediction, before any iteration, relative to the increment
  double contraction;     ///< of the fixed point
  double error;           ///< of `predicted`, relative
  bool settled;           ///< whether the policy takes it for found
};

/// x~ <- y - Phi(x~) from `predicted`, until the policy takes the step for found, or sees that no number of iterations
/// below `limit` will lead there. `iterations`: those that led to `predicted`. `contraction`: that of the step before,
/// where there were none.
SettledStep settle(const AdaptivePolicy& policy, const ErrorEstimate& estimate, StepBack& step, const Tensor& predicted,
                   int64_t iterations, double contraction, int64_t limit);

}  // namespace resnet_nodes
