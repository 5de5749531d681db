// pass.h: the way there and the way back of one training step, as far as the device goes: nothing here waits for it
// where norms stay there (delayed.h), so that either way can be a graph.
#pragma once

#include <memory>
#include <vector>

#include "delayed.h"
#include "layer_function.h"
#include "reconstruction.h"

namespace resnet_nodes {

/// What all passes of a stage have in common.
struct PassPlan {
  StageOptions options;
  std::shared_ptr<const LayerTable> table;  ///< null with callbacks
  const SolverMethod* solver = nullptr;
  int64_t steps = 0;
  double h = 0;
};

/// What the way there leaves for the way back.
struct ForwardPass {
  std::unique_ptr<ResidualFunctions> functions;
  LayerFunctions* layers = nullptr;  ///< the same object, where it is made of layers
  Tensor input;                      ///< where it was asked for
  Tensor output;
  StoredStates stored;
};

/// What the way back leaves.
struct BackwardPass {
  WalkResult walk;  ///< the state only where the host is to compare it with the input
  Tensor norms;     ///< rows of delayed.h; undefined where the host has decided and reported
  std::vector<Tensor> gradients;
};

/// A pass of native layers that has not begun. `uses`: as LayerFunctions has it.
ForwardPass bind_layers(const PassPlan& plan, const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers,
                        bool training, int64_t uses);
/// Goes from x = x_0 to x_N. `pass.functions` are bound; `pass.stored.kept` says whether several ways back may follow.
void run_forward(const PassPlan& plan, const Tensor& x, ForwardPass& pass);
/// Goes back. `pass.layers` know where gradients go. `choices`: adaptive's where it is delayed, empty otherwise.
BackwardPass run_backward(const PassPlan& plan, ForwardPass& pass, const Tensor& grad,
                          const std::vector<StepChoice>& choices);

}  // namespace resnet_nodes
