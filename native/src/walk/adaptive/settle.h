// settle.h: adaptive where the figures of an evaluation are there at once: iterates a step until it is found.
#pragma once

#include "walk/adaptive/policy.h"
#include "walk/solver/recursion.h"

namespace resnet_nodes {

/// A step of the walk: y = x_{n+1} and the cotangent there are known, x_n is to be found.
struct StepBack {
  const Recursion& recursion;
  int64_t n;
  const Tensor& y;
  const Tensor& cotangent;
  bool keep_slope;  ///< whether the last slope is wanted
  StepTape& tape;   ///< written by the last evaluation

  /// y - Phi(x) and how far that is from x, with the tape there.
  Corrected correct(const Tensor& x) const;
};

/// What was found of a step.
struct SettledStep {
  Tensor predicted;         ///< where the tape was written and the gradient is to be taken
  Corrected found;          ///< its state: that before the step
  double first_residual;    ///< of the prediction, before any iteration
  double residual;          ///< at the end
  bool settled;             ///< whether the policy takes it for found
  int64_t evaluations = 1;  ///< of the step
};

/// x~ <- y - Phi(x~) from `predicted`, until the policy takes the step for found or sees that it can't be. Without a
/// policy: one evaluation, whatever it finds.
SettledStep settle(const AdaptivePolicy* policy, const StepBack& step, const Tensor& predicted);

}  // namespace resnet_nodes
