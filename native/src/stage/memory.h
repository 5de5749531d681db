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
                                          const std::vector<Tensor>& buffers, const std::vector<int32_t>& training,
                                          const Choices& choices);
  /// What adaptive has learned for a pass that begins with x; nothing for other plans.
  Choices choices_for(const Tensor& x);
  /// The same, of the pass that is next, where nothing arrives before.
  Choices choices() const { return steps_ ? steps_->now() : Choices(); }
  /// What a way back with those choices has found.
  void learn(Choices choices, PassFindings found);
  /// What it has learned, as numbers; none for other plans. And back: throws Error where they are another stage's.
  std::vector<double> learned() const;
  void restore(const std::vector<double>& learned);

 private:
  std::unique_ptr<LearnedSteps> steps_;    // of adaptive
  std::unique_ptr<GraphedPasses> graphs_;  // of cuda_graphs
};

}  // namespace resnet_nodes
