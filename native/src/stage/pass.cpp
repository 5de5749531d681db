#include "stage/pass.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace resnet_nodes {
namespace {

int64_t checkpoint_distance(const PassPlan& plan) {
  if (plan.options.count > 0) return plan.options.count;
  return std::max<int64_t>(1, static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(plan.steps)))));
}

// The tape that a step is to write, kept among the others.
StepTape& new_tape(const PassPlan& plan, ResidualFunctions& functions, StoredStates& stored) {
  StepTape& tape = stored.tapes.emplace_back(plan.solver->make_tape(functions));
  for (const std::unique_ptr<Tape>& part : tape) part->kept = stored.kept;
  return tape;
}

}  // namespace

std::unique_ptr<ResidualFunctions> bind_layers(const PassPlan& plan, const std::vector<Tensor>& parameters,
                                               const std::vector<Tensor>& buffers, const std::vector<int32_t>& training,
                                               int64_t uses) {
  return std::make_unique<LayerFunctions>(plan.table, plan.workspaces, parameters, buffers, training, uses);
}

Tensor run_steps(const PassPlan& plan, ResidualFunctions& functions, const Tensor& x, StoredStates* stored) {
  const Stores stores = stored != nullptr ? plan.walk.stores : Stores::nothing;
  if (stores == Stores::states) stored->every = checkpoint_distance(plan);
  Tensor state = x;
  for (int64_t n = 0; n < plan.steps; ++n) {
    StepTape* tape = stores == Stores::tapes ? &new_tape(plan, functions, *stored) : nullptr;
    if (stores == Stores::states && n % stored->every == 0) stored->states.push_back(state);
    const Tensor before = state;
    state = plan.solver->step(functions, n, before, plan.h, tape);
    if (stores == Stores::nothing) functions.recycle(before);
  }
  return state;
}

void run_forward(const PassPlan& plan, const Tensor& x, ForwardPass& pass) {
  if (plan.options.keep_input) pass.input = x;
  pass.output = run_steps(plan, *pass.functions, x, &pass.stored);
}

BackwardPass run_backward(const PassPlan& plan, ForwardPass& pass, const Tensor& grad,
                          const std::vector<StepChoice>& choices) {
  const Recursion recursion{*plan.solver, *pass.functions, plan.steps, plan.h};
  const bool reconstructs = plan.walk.stores == Stores::nothing;
  BackwardPass result;
  if (arrives_late(grad) && reconstructs && (plan.walk.correct || pass.input.defined())) {
    result.norms = new_norms(grad, row_count(plan.steps));
  }
  if (reconstructs) {
    auto predictor = choices.empty() ? plan.walk.new_predictor() : chosen_predictor(choices, result.norms);
    result.walk = walk_back(plan.walk, std::move(predictor), recursion, pass.output, grad, result.norms);
  } else {
    result.walk = walk_back_stored(pass.stored, recursion, grad);
  }
  if (pass.input.defined() && result.norms.defined()) {
    distance_measured(result.walk.state, pass.input, norm_row(result.norms, input_row(plan.steps)));
  }
  if (!pass.input.defined() || result.norms.defined()) result.walk.state = Tensor();
  result.gradients = pass.functions->take_gradients();
  return result;
}

}  // namespace resnet_nodes
