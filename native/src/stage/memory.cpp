#include "stage/memory.h"

#include <utility>

#include "resnet_nodes/error.h"

namespace resnet_nodes {

StageMemory::StageMemory(const PassPlan& plan) {
  if (plan.walk.policy) steps_ = std::make_unique<LearnedSteps>(plan.steps, *plan.walk.policy);
  if (plan.options.cuda_graphs) graphs_ = std::make_unique<GraphedPasses>(plan);
}

std::shared_ptr<GraphedPass> StageMemory::graphs_for(const Tensor& x, const std::vector<Tensor>& parameters,
                                                     const std::vector<Tensor>& buffers,
                                                     const std::vector<int32_t>& training, const Choices& choices) {
  return graphs_ ? graphs_->take(x, parameters, buffers, training, choices) : nullptr;
}

Choices StageMemory::choices_for(const Tensor& x) { return steps_ ? steps_->begin(x) : Choices(); }

void StageMemory::learn(Choices choices, PassFindings found) {
  if (steps_) steps_->end(std::move(choices), std::move(found));
}

std::vector<double> StageMemory::learned() const { return steps_ ? steps_->save() : std::vector<double>(); }

void StageMemory::restore(const std::vector<double>& learned) {
  if (steps_) {
    steps_->restore(learned);
  } else if (!learned.empty()) {
    throw Error("learned: there are numbers, but the stage's reconstruction learns nothing; pass none");
  }
}

}  // namespace resnet_nodes
