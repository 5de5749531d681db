#include "walk/adaptive/settle.h"

#include <algorithm>
#include <utility>

#include "tensors/norms.h"

namespace resnet_nodes {

Corrected StepBack::correct(const Tensor& x) {
  evaluations += recursion.solver.evaluations_per_step();
  return recursion.solver.correct(recursion.functions, n, y, x, recursion.h, keep_slope, cotangent, tape);
}

double StepBack::seen_error(const Tensor& x) const {
  if (!samples) return 0;
  const StepNorms off = distance(samples->like(x), samples->of(n));
  return relative_error(off.difference, off.reference);
}

SettledStep settle(const AdaptivePolicy& policy, const ErrorEstimate& estimate, StepBack& step, const Tensor& predicted,
                   int64_t iterations, double contraction, int64_t limit) {
  ResidualFunctions& functions = step.recursion.functions;
  SettledStep result{predicted, step.correct(predicted), 0, contraction, 0, true};
  Corrected& found = result.found;
  result.first_residual = relative_error(found.norms.difference, found.norms.reference);
  if (iterations > 0) result.contraction = estimate.contraction(found.norms, iterations);
  const int64_t most = std::min(policy.iterations, limit - 1);
  const auto error = [&] {
    return AdaptivePolicy::error(estimate.at(found.norms, result.contraction), step.seen_error(result.predicted));
  };
  bool unexplained = false;
  for (int64_t k = 0; !((result.error = error()) <= policy.aim(iterations + 1 + k)); ++k) {
    int64_t missing = estimate.missing(found.norms, result.contraction, policy.aim(iterations + 2 + k));
    // A foreseen state may be far off though the fixed point contracts: one iteration tells.
    if (iterations == 0 && k == 0) missing = 1;
    // The estimate may be too small; where an iteration more does not help, the fixed point is another one than x_n.
    if (missing == 0) missing = std::exchange(unexplained, true) ? -1 : 1;
    if (missing < 0 || k + missing > most) {
      result.settled = false;
      break;
    }
    const StepNorms before = found.norms;
    functions.recycle(found.slope);
    if (result.predicted.get() != step.y.get()) functions.recycle(result.predicted);
    result.predicted = found.state;
    found = step.correct(result.predicted);
    result.contraction = estimate.contraction(before, found.norms);
  }
  return result;
}

}  // namespace resnet_nodes
