#include "pass.h"

#include <algorithm>
#include <cmath>

namespace resnet_nodes {
namespace {

int64_t checkpoint_distance(const PassPlan& plan) {
  if (plan.options.count > 0) return plan.options.count;
  return std::max<int64_t>(1, static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(plan.steps)))));
}

}  // namespace

ForwardPass bind_layers(const PassPlan& plan, const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers,
                        bool training, int64_t uses) {
  auto layers = std::make_unique<LayerFunctions>(plan.table, parameters, buffers, training, uses);
  ForwardPass pass;
  pass.layers = layers.get();
  pass.functions = std::move(layers);
  return pass;
}

void run_forward(const PassPlan& plan, const Tensor& x, ForwardPass& pass) {
  const bool tapes = plan.options.reconstruction == ReconstructionKind::backprop;
  const bool states = plan.options.reconstruction == ReconstructionKind::checkpoint;
  pass.stored.every = states ? checkpoint_distance(plan) : 1;
  if (plan.options.keep_input) pass.input = x;
  Tensor state = x;
  for (int64_t n = 0; n < plan.steps; ++n) {
    StepTape* tape = nullptr;
    if (tapes) {
      tape = &pass.stored.tapes.emplace_back(plan.solver->make_tape(*pass.functions));
      for (const std::unique_ptr<Tape>& part : *tape) {
        if (part != nullptr) part->kept = pass.stored.kept;
      }
    }
    if (states && n % pass.stored.every == 0) pass.stored.states.push_back(state);
    const Tensor before = state;
    state = plan.solver->step(*pass.functions, n, before, plan.h, tape);
    if (!tapes && !states) pass.functions->recycle(before);
  }
  pass.output = state;
}

BackwardPass run_backward(const PassPlan& plan, ForwardPass& pass, const Tensor& grad,
                          const std::vector<StepChoice>& choices) {
  const Recursion recursion{*plan.solver, *pass.functions, plan.steps, plan.h};
  WalkPlan walk = make_plan(plan.options);
  const bool reconstructs = walk.predictor != nullptr;
  BackwardPass result;
  if (delays(grad) && reconstructs && (walk.correct || pass.input.defined())) {
    result.norms = new_norms(grad, row_count(plan.steps));
  }
  if (walk.correct) walk.norms = result.norms;
  if (!choices.empty()) walk.predictor = delayed_predictor(choices, result.norms);
  result.walk = reconstructs ? walk_back(std::move(walk), recursion, pass.output, grad)
                             : walk_back_stored(pass.stored, recursion, grad);
  if (pass.input.defined() && result.norms.defined()) {
    distance_measured(result.walk.state, pass.input, norm_row(result.norms, input_row(plan.steps)));
  }
  if (!pass.input.defined() || result.norms.defined()) result.walk.state = Tensor();
  if (pass.layers != nullptr) result.gradients = pass.layers->take_gradients();
  return result;
}

}  // namespace resnet_nodes
