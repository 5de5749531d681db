// plans.h: what a reconstruction is made of. A plan, not a class: predictor x update x stop.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "resnet_nodes/options.h"
#include "walk/adaptive/policy.h"
#include "walk/predictors/predictor.h"

namespace resnet_nodes {

/// What a forward pass stores for its way back, beside its output.
enum class Stores {
  nothing,
  tapes,   ///< of every step: nothing is predicted
  states,  ///< of every k-th step
  choice,  ///< states of those steps that adaptive has chosen
};

/// How a way back finds its states. The same for all passes of a stage: what a walk changes is in its predictor.
struct WalkPlan {
  Stores stores = Stores::nothing;
  std::function<std::unique_ptr<Predictor>(const WalkInputs&)> new_predictor;  ///< of one walk
  bool correct = false;                  ///< update: y <- y - Phi(x~); otherwise y <- x~
  std::optional<AdaptivePolicy> policy;  ///< stop: iterate until it takes the step for found; none: never iterate
  int64_t most_states = 0;               ///< that a way back may hold at a time

  /// Whether the walk begins at x_N and finds states; otherwise all are stored or replayed.
  bool reconstructs() const { return stores == Stores::nothing || stores == Stores::choice; }
};

/// The plan of the options, which are checked, of a stage of so many steps.
WalkPlan make_plan(const StageOptions& options, int64_t steps);
/// The row of the table. Throws Error where there is no such kind.
const ReconstructionPlan& find_plan(ReconstructionKind kind);
/// Throws Error where an option is out of its range.
void check_options(const StageOptions& options);

}  // namespace resnet_nodes
