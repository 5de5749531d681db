// walk_back.h: the walk back through a stage: predict the state, evaluate with tape, take the product, update.
#pragma once

#include "walk/plans.h"

namespace resnet_nodes {

/// The cotangent and state that arrive at x_0, and what was found.
struct WalkResult {
  Tensor grad;
  Tensor state;             ///< undefined where only tapes were left of it
  PassFindings found;       ///< its norms are still to be read where they were measured
  int64_t evaluations = 0;  ///< of functions
};

/// Goes back from x_N by the plan, with what the forward pass has stored and the choices that it was made with. Where
/// `norms` is defined, figures stay on the device, in the rows of learned.h, and decide nothing in this walk.
/// Throws Error where adaptive meets a state that is not finite.
WalkResult walk_back(const WalkPlan& plan, const Recursion& recursion, StoredStates& stored, const Choices& choices,
                     Tensor output, const Tensor& grad, const Tensor& norms);

}  // namespace resnet_nodes
