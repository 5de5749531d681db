// stored.cpp: the exact ways back: a tape of every step (backprop), or states of every k-th and a replay between them.
#include <algorithm>

#include "walk/walk_back.h"

namespace resnet_nodes {
namespace {

WalkResult through_tapes(StoredStates& stored, const Recursion& recursion, const Tensor& grad) {
  WalkResult result;
  result.grad = grad;
  for (int64_t n = recursion.steps; n-- > 0;) {
    StepTape& tape = stored.tapes[static_cast<size_t>(n)];
    result.grad = recursion.solver.vjp(recursion.functions, n, tape, result.grad, recursion.h);
    if (!stored.kept) tape = StepTape();
  }
  return result;
}

WalkResult through_segments(StoredStates& stored, const Recursion& recursion, const Tensor& grad) {
  const RungeKutta& solver = recursion.solver;
  WalkResult result;
  result.grad = grad;
  for (size_t segment = stored.states.size(); segment-- > 0;) {
    const int64_t begin = static_cast<int64_t>(segment) * stored.every;
    const int64_t end = std::min(begin + stored.every, recursion.steps);
    Tensor x = stored.states[segment];
    if (segment == 0) result.state = x;
    std::vector<StepTape> tapes;
    for (int64_t n = begin; n < end; ++n) {
      tapes.push_back(solver.make_tape(recursion.functions));
      const Tensor slope = solver.slope(recursion.functions, n, x, recursion.h, &tapes.back());
      result.report.evaluations += solver.evaluations_per_step();
      if (n + 1 < end) x = add_scaled(x, slope, recursion.h);
    }
    for (int64_t n = end; n-- > begin;) {
      result.grad = solver.vjp(recursion.functions, n, tapes.back(), result.grad, recursion.h);
      tapes.pop_back();
    }
    if (!stored.kept) stored.states[segment] = Tensor();
  }
  return result;
}

}  // namespace

WalkResult walk_back_stored(StoredStates& stored, const Recursion& recursion, const Tensor& grad) {
  return stored.states.empty() ? through_tapes(stored, recursion, grad) : through_segments(stored, recursion, grad);
}

}  // namespace resnet_nodes
