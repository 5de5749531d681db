#include "walk/solver/runge_kutta.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "resnet_nodes/error.h"
#include "tensors/fused_steps.h"
#include "tensors/operators.h"

namespace resnet_nodes {
namespace {

Tape* tape_of(StepTape* tape, size_t stage) { return tape != nullptr ? (*tape)[stage].get() : nullptr; }

}  // namespace

RungeKutta::RungeKutta(SolverPlan plan) : plan_(std::move(plan)), stages_(plan_.functions.size()) {
  if (stages_ == 0 || plan_.b.size() != stages_ || plan_.a.size() != stages_ * (stages_ - 1) / 2 ||
      plan_.b.back() == 0) {
    throw Error("solver " + plan_.name + ": its tableau is not that of an explicit method that uses its last stage");
  }
  const auto has_weight = [](double b) { return b != 0; };
  ends_in_last_ = std::count_if(plan_.b.begin(), plan_.b.end(), has_weight) == 1;
  std::vector<double> times(stages_, 0.0);  // of the stages, in steps
  for (size_t i = 1; i < stages_; ++i) {
    for (size_t j = 0; j < i; ++j) times[i] += a(i, j);
  }
  for (const double time : times) {
    size_t nearest = 0;
    for (size_t i = 1; i < stages_; ++i) {
      if (std::abs(times[i] - (1 - time)) < std::abs(times[nearest] - (1 - time))) nearest = i;
    }
    mirrored_.push_back(nearest);
  }
}

int64_t RungeKutta::steps(int64_t depth) const {
  const int64_t furthest = *std::max_element(plan_.functions.begin(), plan_.functions.end());
  if (depth <= furthest) {
    throw Error("depth is " + std::to_string(depth) + ", expected at least " + std::to_string(furthest + 1) +
                " with the solver " + plan_.name);
  }
  return depth - furthest;
}

Use RungeKutta::use(int64_t n, size_t stage) const {
  return {n + plan_.functions[stage], n * evaluations_per_step() + static_cast<int64_t>(stage)};
}

std::vector<int64_t> RungeKutta::last_products(int64_t n) const {
  std::vector<int64_t> found;
  for (const int64_t offset : plan_.functions) {
    const int64_t function = n + offset;
    const bool earlier = std::any_of(plan_.functions.begin(), plan_.functions.end(),
                                     [&](int64_t other) { return other > offset && other <= function; });
    if (!earlier) found.push_back(function);
  }
  std::sort(found.rbegin(), found.rend());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

StepTape RungeKutta::make_tape(ResidualFunctions& functions) const {
  StepTape tape;
  for (size_t i = 0; i < stages_; ++i) tape.push_back(functions.make_tape());
  return tape;
}

Tensor RungeKutta::place(size_t stage, const Tensor& x, const Slopes& k, double h) const {
  Tensor at = x;
  for (size_t j = 0; j < stage; ++j) {
    if (a(stage, j) == 0) continue;
    // The first sum is a new tensor, which the others are added to.
    const Tensor out = at.get() == x.get() ? Tensor() : at;
    at = add_scaled(at, k[j], h * a(stage, j), out);
  }
  return at;
}

Tensor RungeKutta::combined(const Tensor& x, const Slopes& k, double h, bool fresh) const {
  const Tensor out = fresh ? k.back() : Tensor();
  if (stages_ == 2 && plan_.b[0] == plan_.b[1]) return add_scaled_sum(x, k[0], k[1], h * plan_.b[0], out);
  // The last slope first: where the sum takes its memory, the others are still to be read.
  Tensor sum = add_scaled(x, k.back(), h * plan_.b.back(), out);
  for (size_t i = 0; i + 1 < stages_; ++i) {
    if (plan_.b[i] != 0) sum = add_scaled(sum, k[i], h * plan_.b[i], sum);
  }
  return sum;
}

Tensor RungeKutta::step(ResidualFunctions& functions, int64_t n, const Tensor& x, double h, StepTape* tape) const {
  Slopes k;
  for (size_t i = 0; i < stages_; ++i) {
    const Tensor at = place(i, x, k, h);
    if (ends_in_last_ && i + 1 == stages_) {
      return functions.forward_step(use(n, i), x, at, h * plan_.b[i], tape_of(tape, i));
    }
    k.push_back(functions.forward(use(n, i), at, tape_of(tape, i)));
  }
  return combined(x, k, h, functions.results_are_fresh());
}

Tensor RungeKutta::replay(ResidualFunctions& functions, int64_t n, const Tensor& x, double h) const {
  Slopes k = replayed(functions, n, x, h, nullptr);
  const size_t last = stages_ - 1;
  if (ends_in_last_) return functions.replay_step(use(n, last), x, place(last, x, k, h), h * plan_.b[last]);
  return combined(x, k, h, functions.results_are_fresh());
}

RungeKutta::Slopes RungeKutta::replayed(ResidualFunctions& functions, int64_t n, const Tensor& x, double h,
                                        StepTape* tape) const {
  Slopes k;
  const size_t count = ends_in_last_ ? stages_ - 1 : stages_;
  for (size_t i = 0; i < count; ++i) {
    k.push_back(functions.replay(use(n, i), place(i, x, k, h), tape_of(tape, i)));
  }
  return k;
}

Tensor RungeKutta::slope(ResidualFunctions& functions, int64_t n, const Tensor& x, double h, StepTape* tape) const {
  const Slopes k = replayed(functions, n, x, h, tape);
  const size_t last = stages_ - 1;
  if (ends_in_last_) {
    const Tensor slope = functions.replay(use(n, last), place(last, x, k, h), tape_of(tape, last));
    return plan_.b[last] == 1 ? slope : scaled(slope, plan_.b[last]);
  }
  if (stages_ == 2 && plan_.b[0] == plan_.b[1]) return scaled(add_scaled(k[0], k[1], 1.0), plan_.b[0]);
  Tensor sum = scaled(k[last], plan_.b[last]);
  for (size_t i = 0; i < last; ++i) {
    if (plan_.b[i] != 0) sum = add_scaled(sum, k[i], plan_.b[i], sum);
  }
  return sum;
}

Tensor RungeKutta::refine(ResidualFunctions& functions, int64_t n, const Tensor& y, const Tensor& x, double h) const {
  if (!ends_in_last_) return functions.moved(y, slope(functions, n, x, h, nullptr), -h);
  const Slopes k = replayed(functions, n, x, h, nullptr);
  const size_t last = stages_ - 1;
  return functions.replay_step(use(n, last), y, place(last, x, k, h), -h * plan_.b[last]);
}

Corrected RungeKutta::correct(ResidualFunctions& functions, int64_t n, const Tensor& y, const Tensor& predicted,
                              double h, bool keep_slope, const Tensor& cotangent, StepTape& tape) const {
  // With one stage the function is evaluated where the correction is compared.
  if (stages_ == 1 && plan_.b[0] == 1) {
    return functions.correct_step(use(n, 0), y, predicted, h, keep_slope, cotangent, *tape[0]);
  }
  return functions.corrected(y, slope(functions, n, predicted, h, &tape), predicted, h, keep_slope);
}

Tensor RungeKutta::undo(ResidualFunctions& functions, int64_t n, const Tensor& y, double h) const {
  Slopes k;
  for (size_t i = 0; i < stages_; ++i) {
    const Use repeated = use(n, mirrored_[i]);
    const Tensor at = place(i, y, k, -h);
    if (ends_in_last_ && i + 1 == stages_) return functions.replay_step(repeated, y, at, -h * plan_.b[i]);
    k.push_back(functions.replay(repeated, at, nullptr));
  }
  return combined(y, k, -h, functions.results_are_fresh());
}

// The cotangent of k_i is h (b_i g + sum_{m>i} a_mi v_m), where v_m is the gradient that stage m hands to its place;
// that of x is g + sum_i v_i.
Tensor RungeKutta::vjp(ResidualFunctions& functions, int64_t n, StepTape& tape, const Tensor& grad, double h) const {
  if (stages_ == 1) return functions.vjp_step(use(n, 0), *tape[0], grad, h * plan_.b[0]);
  Slopes v(stages_);
  std::optional<std::pair<double, Tensor>> weighted;  // h b g, for the b that came last: neighbours often share theirs
  for (size_t i = stages_; i-- > 0;) {
    Tensor cotangent;
    if (const double b = plan_.b[i]; b != 0) {
      if (!weighted || weighted->first != b) weighted = {b, scaled(grad, h * b)};
      cotangent = weighted->second;
    }
    for (size_t m = i + 1; m < stages_; ++m) {
      if (a(m, i) == 0 || !v[m].defined()) continue;
      cotangent = cotangent.defined() ? add_scaled(cotangent, v[m], h * a(m, i)) : scaled(v[m], h * a(m, i));
    }
    if (cotangent.defined()) v[i] = functions.vjp(use(n, i), *tape[i], cotangent);
  }
  if (stages_ == 2 && v[0].defined()) return add_scaled_sum(grad, v[1], v[0], 1.0);
  Tensor sum = add_scaled(grad, v[stages_ - 1], 1.0);
  for (size_t i = stages_ - 1; i-- > 0;) {
    if (v[i].defined()) sum = add_scaled(sum, v[i], 1.0, sum);
  }
  return sum;
}

}  // namespace resnet_nodes
