#include "stage/memory.h"

#include <utility>

namespace resnet_nodes {

StageMemory::StageMemory(const PassPlan& plan) {
  if (plan.walk.policy) choices_ = std::make_unique<LearnedChoices>(plan.steps, *plan.walk.policy);
  if (plan.options.cuda_graphs) graphs_ = std::make_unique<GraphedPasses>(plan);
}

std::shared_ptr<GraphedPass> StageMemory::graphs_for(const Tensor& x, const std::vector<Tensor>& parameters,
                                                     const std::vector<Tensor>& buffers,
                                                     const std::vector<int32_t>& training) {
  return graphs_ ? graphs_->take(x, parameters, buffers, training) : nullptr;
}

std::vector<StepChoice> StageMemory::choices_for(const Tensor& grad) {
  return choices_ && arrives_late(grad) ? choices_->begin() : std::vector<StepChoice>();
}

void StageMemory::learn(std::vector<StepChoice> choices, const std::shared_ptr<const Readback>& found, double unit) {
  if (choices_) choices_->end(std::move(choices), found, unit);
}

}  // namespace resnet_nodes
