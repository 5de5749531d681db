// plans.h: what a reconstruction is made of. A plan, not a class: predictor x update x stop.
#pragma once

#include <memory>
#include <optional>

#include "resnet_nodes/options.h"
#include "walk/adaptive/policy.h"
#include "walk/predictors/predictor.h"

namespace resnet_nodes {

/// What a forward pass stores for its way back, beside its output.
enum class Stores {
  nothing,
  tapes,   ///< of every step
  states,  ///< of some steps; the steps between are replayed
};

/// How a way back finds its states.
struct WalkPlan {
  Stores stores = Stores::nothing;
  std::unique_ptr<Predictor> predictor;  ///< null for plans that store
  bool correct = true;                   ///< update: y <- y - Phi(x~); otherwise y <- x~
  std::optional<AdaptivePolicy> policy;  ///< stop: iterate until it takes the step for found; none: never iterate
};

/// The plan of a stage's options, which are checked.
WalkPlan make_plan(const StageOptions& options);
/// The row of the table. Throws Error where there is no such kind.
const ReconstructionPlan& find_plan(ReconstructionKind kind);
/// Throws Error where an option is out of its range.
void check_options(const StageOptions& options);

}  // namespace resnet_nodes
