#include "stage/cost.h"

#include <algorithm>

namespace resnet_nodes {
namespace {

// Of the forward pass, and of a vector-Jacobian product, which takes about as long as two.
constexpr double kForwardAndProduct = 3;

// The steps that lie between two kept states at most.
int64_t longest_way(const std::vector<int64_t>& kept, int64_t end) {
  int64_t longest = 0;
  for (size_t i = 0; i < kept.size(); ++i) {
    longest = std::max(longest, (i + 1 < kept.size() ? kept[i + 1] : end) - kept[i]);
  }
  return longest;
}

// Evaluations of steps, on the way back, of those that have no tape.
double evaluations_back(const PassPlan& plan, const Choices& choices, const std::vector<int64_t>& kept) {
  const auto steps = static_cast<double>(plan.first_tape);
  if (!plan.walk.policy) {
    const ReconstructionPlan& row = find_plan(plan.options.reconstruction);
    const int64_t more = plan.options.count > 0 && row.evaluations_grow ? plan.options.count - row.default_count : 0;
    return steps * (row.evaluations + static_cast<double>(more) - kForwardAndProduct);
  }
  // One with its tape; where the state is to be found, one more to find it if nothing foresees it.
  std::vector<int64_t> exact;
  double evaluations = steps;
  for (int64_t n = 0; n < plan.first_tape; ++n) {
    const Way way = choices[static_cast<size_t>(n)].way;
    if (way == Way::exact) exact.push_back(n);
    if (way == Way::iterate && n > 1 && plan.steps < AdaptivePolicy::kLeastForesight) ++evaluations;
  }
  return evaluations + static_cast<double>(replayed_steps(exact, kept, plan.walk.most_states));
}

PassCost cost_alone(const PassPlan& plan, const Footprint& function) {
  PassCost cost;
  const bool stores = plan.stores_tapes();
  cost.kept_bytes = function.output + (stores ? function.tape : 0);
  cost.forward_bytes = stores ? function.taping : function.evaluation;
  cost.backward_bytes = function.output + (stores ? function.from_tape : function.from_replay);
  cost.backward_evaluations = stores ? 0 : 1;
  cost.evaluations = kForwardAndProduct + cost.backward_evaluations + (stores ? 0 : function.repeated);
  return cost;
}

PassCost cost_of_steps(const PassPlan& plan, const Choices& choices, const Footprint& function) {
  const int64_t state = function.output, uses = plan.solver->evaluations_per_step();
  const int64_t stored = plan.steps - plan.first_tape;
  // A solver of several stages has their places and slopes beside one another.
  const int64_t slopes = (uses - 1) * 2 * state;
  const int64_t tape = uses * (function.tape + (function.tape_holds_input ? state : 0));
  const std::vector<int64_t> kept = kept_steps(plan, choices);
  const int64_t most = plan.walk.most_states;
  auto states = static_cast<int64_t>(kept.size());
  if (plan.walk.policy) {
    // None is kept for x_1, which is one step from x_0.
    states = std::min(most, std::max<int64_t>(1, plan.first_tape - 1)) + (stored > 0 && plan.first_tape > 0 ? 1 : 0);
  }
  // x_0 is the caller's.
  if (!kept.empty() && kept.front() == 0) --states;
  const int64_t held = states * state;

  PassCost cost;
  cost.kept_bytes = state + held + stored * tape;
  const int64_t taping = stored > 0 ? (stored - 1) * tape + uses * function.taping : 0;
  cost.forward_bytes = held + (plan.steps > 1 ? state : 0) + slopes + std::max(function.evaluation, taping);
  if (stored > 0) cost.backward_bytes = state + slopes + function.from_tape;
  if (plan.first_tape > 0) {
    // The cotangent.
    int64_t back = state + slopes + function.from_replay + (uses - 1) * function.replayed_tape;
    if (plan.walk.stores == Stores::states) {
      back += (longest_way(kept, plan.first_tape) - 1) * uses * (function.replayed_tape + state);
    } else {
      // A state that is predicted, what a correction makes of it where not all may be at hand, and slopes that foresee.
      back += plan.walk.policy && most >= plan.first_tape ? state : 2 * state;
      if (plan.options.reconstruction == ReconstructionKind::extrapolated) back += 3 * state;
      if (plan.walk.policy && plan.steps >= AdaptivePolicy::kLeastForesight) back += AdaptivePolicy::kOrder * state;
    }
    // All tapes are gone by then.
    cost.backward_bytes = std::max(cost.backward_bytes, back - stored * tape);
  }
  const auto all = static_cast<double>(plan.steps * uses);
  cost.backward_evaluations = static_cast<double>(uses) * evaluations_back(plan, choices, kept);
  cost.evaluations = kForwardAndProduct * all + cost.backward_evaluations +
                     function.repeated * static_cast<double>(plan.first_tape * uses);
  return cost;
}

}  // namespace

Footprint largest_footprint(const LayerTable& table, int64_t depth, const Tensor& x, int64_t tape_bytes) {
  Footprint all = footprint_of(table, 0, x, tape_bytes);
  if (table.row_of(depth - 1) == 0) return all;
  for (int64_t n = 1; n < depth; ++n) {
    const Footprint one = footprint_of(table, n, x, tape_bytes);
    for (int64_t Footprint::*bytes : {&Footprint::evaluation, &Footprint::taping, &Footprint::tape,
                                      &Footprint::from_tape, &Footprint::replayed_tape, &Footprint::from_replay}) {
      all.*bytes = std::max(all.*bytes, one.*bytes);
    }
    all.operations += one.operations;
    all.repeated = std::max(all.repeated, one.repeated);
    all.tape_holds_input = all.tape_holds_input || one.tape_holds_input;
  }
  all.operations /= static_cast<double>(depth);
  return all;
}

PassCost cost_of(const PassPlan& plan, const Choices& choices, const Footprint& function) {
  PassCost cost = plan.options.residual ? cost_of_steps(plan, choices, function) : cost_alone(plan, function);
  cost.output_sizes = function.output_sizes;
  cost.operations = function.operations;
  return cost;
}

}  // namespace resnet_nodes
