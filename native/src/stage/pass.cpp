#include "stage/pass.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tensors/norms.h"

namespace resnet_nodes {
namespace {

// The tape that a step is to write, kept among the others.
StepTape& new_tape(const PassPlan& plan, ResidualFunctions& functions, StoredStates& stored) {
  StepTape& tape = stored.tapes.emplace_back(plan.solver->make_tape(functions));
  for (const std::unique_ptr<Tape>& part : tape) part->kept = stored.kept;
  return tape;
}

// A function alone: evaluated with a tape that stays, or again from its input.
constexpr Use kAlone{0, 0};

void run_alone(const PassPlan& plan, const Tensor& x, ForwardPass& pass) {
  Tape* tape = nullptr;
  if (plan.stores_tapes()) {
    tape = new_tape(plan, *pass.functions, pass.stored).front().get();
  } else {
    pass.stored.states[0] = x;
  }
  pass.output = pass.functions->forward(kAlone, x, tape);
  pass.functions->end_forward();
}

BackwardPass back_alone(const PassPlan& plan, ForwardPass& pass, const Tensor& grad) {
  BackwardPass result;
  StepFindings found;
  found.source = StateSource::kept, found.error = 0;
  if (plan.stores_tapes()) {
    result.walk.grad = pass.functions->gradient_alone(kAlone, *pass.stored.tapes.front().front(), grad);
  } else {
    found.evaluations = result.walk.evaluations = 1;
    const Tensor x = std::move(pass.stored.states.at(0));
    pass.stored.states.clear();
    result.walk.grad = pass.functions->gradient_alone(kAlone, x, grad);
  }
  pass.functions->end_products(kAlone.function);
  result.walk.found.steps.push_back(found);
  result.gradients = pass.functions->take_gradients();
  return result;
}

}  // namespace

std::vector<int64_t> kept_steps(const PassPlan& plan, const Choices& choices) {
  std::vector<int64_t> kept;
  if (plan.walk.stores == Stores::choice && plan.first_tape > 0) {
    const Choices predicted(choices.begin(), choices.begin() + plan.first_tape);
    kept = kept_steps(predicted, plan.walk.most_states);
  } else if (plan.walk.stores == Stores::states) {
    const auto root = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(plan.steps))));
    const int64_t every = plan.options.count > 0 ? plan.options.count : std::max<int64_t>(1, root);
    for (int64_t n = 0; n < plan.first_tape; n += every) kept.push_back(n);
  }
  // Where the tapes end, the way back goes on from a state.
  if (plan.first_tape > 0 && plan.stores_tapes()) kept.push_back(plan.first_tape);
  return kept;
}

std::unique_ptr<ResidualFunctions> bind_layers(const PassPlan& plan, const std::vector<Tensor>& parameters,
                                               const std::vector<Tensor>& buffers, const std::vector<int32_t>& training,
                                               int64_t uses, std::shared_ptr<NormSums> ranks) {
  return std::make_unique<LayerFunctions>(plan.table, plan.workspaces, parameters, buffers, training, uses,
                                          plan.options.tape_bytes, std::move(ranks));
}

Tensor run_steps(const PassPlan& plan, ResidualFunctions& functions, const Tensor& x) {
  if (!plan.options.residual) return functions.forward(kAlone, x, nullptr);
  Tensor state = x;
  for (int64_t n = 0; n < plan.steps; ++n) {
    const Tensor before = state;
    state = plan.solver->step(functions, n, before, plan.h, nullptr);
    functions.recycle(before);
  }
  return state;
}

void run_forward(const PassPlan& plan, const Tensor& x, ForwardPass& pass) {
  ResidualFunctions& functions = *pass.functions;
  if (!plan.options.residual) {
    run_alone(plan, x, pass);
    return;
  }
  if (plan.options.keep_input) pass.input = x;
  if (plan.walk.policy) pass.stored.samples.emplace(plan.steps);
  for (const int64_t n : kept_steps(plan, pass.choices)) pass.stored.states[n] = Tensor();
  Tensor state = x;
  for (int64_t n = 0; n < plan.steps; ++n) {
    StepTape* tape = n >= plan.first_tape ? &new_tape(plan, functions, pass.stored) : nullptr;
    const Tensor before = state;
    state = plan.solver->step(functions, n, before, plan.h, tape);
    if (pass.stored.samples) pass.stored.samples->take(n, before);
    if (const auto kept = pass.stored.states.find(n); kept != pass.stored.states.end()) {
      kept->second = before;
    } else if (tape == nullptr) {
      functions.recycle(before);
    }
  }
  pass.output = state;
  functions.end_forward();
}

BackwardPass run_backward(const PassPlan& plan, ForwardPass& pass, const Tensor& grad, const Choices& choices) {
  if (!plan.options.residual) return back_alone(plan, pass, grad);
  const Recursion recursion{*plan.solver, *pass.functions, plan.steps, plan.h};
  BackwardPass result;
  if (arrives_late(grad) && plan.reconstructs() && (plan.walk.correct || pass.input.defined())) {
    result.norms = new_norms(grad, row_count(plan.steps));
  }
  // Not held here: the walk lets go of it as soon as it has passed it.
  Tensor output = pass.stored.kept ? pass.output : std::exchange(pass.output, Tensor());
  result.walk = walk_back(plan.walk, recursion, pass.stored, choices, std::move(output), grad, result.norms);
  if (pass.input.defined() && result.norms.defined()) {
    distance_measured(result.walk.state, pass.input, norm_row(result.norms, input_row(plan.steps)));
  }
  if (!pass.input.defined() || result.norms.defined()) result.walk.state = Tensor();
  result.gradients = pass.functions->take_gradients();
  return result;
}

}  // namespace resnet_nodes
