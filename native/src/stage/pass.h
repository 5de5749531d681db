// pass.h: the forward and the backward pass of one training step, as far as the device goes: nothing here waits for it
// where figures arrive late (learned.h), so that either can be recorded as a graph.
#pragma once

#include <memory>
#include <vector>

#include "functions/layer_functions.h"
#include "walk/walk_back.h"

namespace resnet_nodes {

/// What all passes of a stage have in common. Only the workspaces change.
struct PassPlan {
  StageOptions options;
  WalkPlan walk;                            ///< of those options
  std::shared_ptr<const LayerTable> table;  ///< null with callbacks
  std::shared_ptr<Workspaces> workspaces;
  const RungeKutta* solver = nullptr;
  int64_t steps = 0;
  double h = 0;
  int64_t first_tape = 0;  ///< the step from which on the forward pass stores tapes; `steps`: it stores none

  bool stores_tapes() const { return first_tape < steps; }
  /// Whether the way back finds states, as opposed to having them all.
  bool reconstructs() const { return walk.reconstructs() && first_tape > 0; }
  /// Whether it begins with x_N.
  bool reads_output() const { return reconstructs() && !stores_tapes(); }
  /// Whether it reads x_0: kept, compared with, or in a tape.
  bool reads_input() const { return walk.stores != Stores::nothing || options.keep_input || first_tape == 0; }
  /// Evaluations of functions in a forward pass.
  int64_t evaluations() const { return steps * solver->evaluations_per_step(); }
};

/// What the forward pass leaves for the backward pass.
struct ForwardPass {
  std::shared_ptr<NormSums> ranks;  ///< that it and its way back sum over; null: none
  std::unique_ptr<ResidualFunctions> functions;
  Tensor input;  ///< where it was asked for
  Tensor output;
  Choices choices;
  StoredStates stored;
};

/// What the backward pass leaves.
struct BackwardPass {
  WalkResult walk;  ///< the state only where the host is to compare it with the input
  Tensor norms;     ///< rows of learned.h; undefined where the host has decided and reported
  std::vector<Tensor> gradients;
};

/// The steps whose states a forward pass with these choices keeps.
std::vector<int64_t> kept_steps(const PassPlan& plan, const Choices& choices);
/// Native layers with their parameters, for one pass. `uses`, `ranks`: as LayerFunctions has them.
std::unique_ptr<ResidualFunctions> bind_layers(const PassPlan& plan, const std::vector<Tensor>& parameters,
                                               const std::vector<Tensor>& buffers, const std::vector<int32_t>& training,
                                               int64_t uses, std::shared_ptr<NormSums> ranks = nullptr);
/// x_N from x = x_0 alone.
Tensor run_steps(const PassPlan& plan, ResidualFunctions& functions, const Tensor& x);
/// Goes from x = x_0 to x_N. `pass.functions` are bound and `pass.choices` made; `pass.stored.kept` says whether
/// several ways back may follow.
void run_forward(const PassPlan& plan, const Tensor& x, ForwardPass& pass);
/// Goes back, with these choices: those of the forward pass, or others that keep the same states. `pass.functions` know
/// where gradients go.
BackwardPass run_backward(const PassPlan& plan, ForwardPass& pass, const Tensor& grad, const Choices& choices);

}  // namespace resnet_nodes
