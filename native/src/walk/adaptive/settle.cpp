#include "walk/adaptive/settle.h"

#include "tensors/norms.h"

namespace resnet_nodes {
namespace {

double residual_of(const Corrected& found) { return relative_residual(found.norms.difference, found.norms.reference); }

bool is_rounding_only(const Corrected& found, const Tensor& y) {
  return is_rounding(found.norms.difference, distance(y, y).reference, rounding_unit(y));
}

}  // namespace

Corrected StepBack::correct(const Tensor& x) const {
  return recursion.solver.correct(recursion.functions, n, y, x, recursion.h, keep_slope, cotangent, tape);
}

SettledStep settle(const AdaptivePolicy* policy, const StepBack& step, const Tensor& predicted) {
  ResidualFunctions& functions = step.recursion.functions;
  SettledStep result{predicted, step.correct(predicted), 0, 0, true};
  Corrected& found = result.found;
  result.first_residual = result.residual = residual_of(found);
  if (policy == nullptr) return result;
  result.settled = policy->settles(result.residual);
  for (int64_t k = 0; !result.settled && k < policy->iterations && !is_rounding_only(found, step.y); ++k) {
    const Tensor before = result.predicted;
    const double moved = found.norms.difference;
    functions.recycle(found.slope);
    result.predicted = found.state;
    found = step.correct(result.predicted);
    ++result.evaluations;
    result.residual = residual_of(found);
    result.settled = policy->settles(result.residual);
    if (result.settled || !AdaptivePolicy::repels(found.norms.difference, moved)) {
      if (before.get() != step.y.get()) functions.recycle(before);
      continue;
    }
    // The state before is the best available, or y, where that one is off by more than it has moved from y.
    const bool moved_too_far = distance(before, step.y).difference < moved;
    result.predicted = moved_too_far ? step.y : before;
    found = step.correct(result.predicted);
    ++result.evaluations;
    result.residual = residual_of(found);
    found.state = result.predicted;
    break;
  }
  result.settled = result.settled || is_rounding_only(found, step.y);
  return result;
}

}  // namespace resnet_nodes
