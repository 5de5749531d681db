// memory.h: what a stage remembers from pass to pass.
#pragma once

#include <memory>
#include <vector>

#include "stage/graphed_pass.h"
#include "stage/pass.h"

namespace resnet_nodes {

/// Everything of a stage that passes change; all else of it is fixed when it is made. Calls may come from any thread.
class StageMemory {
 public:
  explicit StageMemory(const PassPlan& plan);

  /// Whether passes may be graphs.
  bool has_graphs() const { return graphs_ != nullptr; }
  /// The graphs for a pass (GraphedPasses::take); null where it runs by operators.
  std::shared_ptr<GraphedPass> graphs_for(const Tensor& x, const std::vector<Tensor>& parameters,
                                          const std::vector<Tensor>& buffers, const std::vector<int32_t>& training);
  /// What adaptive has learned for a way back with this cotangent; empty where it decides at once, and for other plans.
  std::vector<StepChoice> choices_for(const Tensor& grad);
  /// What a way back with those choices has found.
  void learn(std::vector<StepChoice> choices, const std::shared_ptr<const Readback>& found, double unit);

 private:
  std::unique_ptr<LearnedChoices> choices_;  // of adaptive
  std::unique_ptr<GraphedPasses> graphs_;    // of cuda_graphs
};

}  // namespace resnet_nodes
