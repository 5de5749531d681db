// walk_back.h: the walk back through a stage: predict the state, evaluate with tape, take the product, update.
#pragma once

#include <memory>
#include <vector>

#include "resnet_nodes/stage.h"
#include "walk/plans.h"
#include "walk/solver/recursion.h"

namespace resnet_nodes {

/// The cotangent and state that arrive at x_0, and the report.
struct WalkResult {
  Tensor grad;
  Tensor state;
  StageReport report;
};

/// Goes back from x_N by reconstruction, with a predictor of this walk alone. Where `norms` is defined, figures stay on
/// the device, in the rows of learned.h, and decide nothing in this walk.
WalkResult walk_back(const WalkPlan& plan, std::unique_ptr<Predictor> predictor, const Recursion& recursion,
                     const Tensor& output, const Tensor& grad, const Tensor& norms);

/// What plans that store keep.
struct StoredStates {
  std::vector<StepTape> tapes;  ///< of every step
  std::vector<Tensor> states;   ///< of every `every`-th step
  int64_t every = 1;
  bool kept = false;  ///< the way back leaves them for another one
};
/// Goes back through stored tapes, or replays segment by segment from stored states.
WalkResult walk_back_stored(StoredStates& stored, const Recursion& recursion, const Tensor& grad);

}  // namespace resnet_nodes
