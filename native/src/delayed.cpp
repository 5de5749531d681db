#include "delayed.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "slopes.h"

namespace resnet_nodes {
namespace {

// Passes after which what was given up is looked at again.
constexpr int64_t kLookAgain = 8;
constexpr int64_t kOrder = 2;

std::atomic<bool> delays_on_cpu{false};

class Delayed final : public Predictor {
 public:
  Delayed(std::vector<StepChoice> choices, const Tensor& norms) : choices_(std::move(choices)), norms_(norms) {}

  Tensor predict(const Recursion& recursion, int64_t n, const Tensor& y) override {
    current_ = n;
    const StepChoice& choice = at(n);
    if (choice.keep) return y;
    Tensor x = choice.extrapolate && slopes_.ready() ? slopes_.foreseen(recursion.functions, y, recursion.h) : y;
    for (int64_t k = 0; k < choice.iterations; ++k) {
      const Tensor before = x;
      x = recursion.solver.refine(recursion.functions, n, y, before, recursion.h);
      if (before.get() != y.get()) recursion.functions.recycle(before);
      evaluations_ += recursion.solver.evaluations_per_step();
    }
    return x;
  }

  int64_t evaluations() const override { return evaluations_; }

  void observe(const Recursion& recursion, const FoundStep& found) override {
    const StepChoice& choice = at(current_);
    if (choice.looks() && slopes_.ready()) {
      const Tensor seen = slopes_.foreseen(recursion.functions, found.y, recursion.h);
      distance_measured(seen, found.state, norm_row(norms_, foresight_row(current_)));
      recursion.functions.recycle(seen);
    }
    slopes_.add(recursion.functions, found.slope);
  }

  bool keeps_slopes() const override { return true; }
  bool keeps_state(int64_t n) const override { return at(n).keep; }

 private:
  const StepChoice& at(int64_t n) const { return choices_[static_cast<size_t>(n)]; }
  std::vector<StepChoice> choices_;
  Tensor norms_;
  int64_t current_ = 0;
  int64_t evaluations_ = 0;
  Slopes slopes_{kOrder};
};

}  // namespace

bool same_walk(const std::vector<StepChoice>& a, const std::vector<StepChoice>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const StepChoice& one, const StepChoice& other) {
    return one.extrapolate == other.extrapolate && one.iterations == other.iterations && one.keep == other.keep &&
           one.looks() == other.looks();
  });
}

Tensor norm_row(const Tensor& norms, int64_t row) {
  Tensor all = norms;
  return torch::stable::narrow(all, 0, row * kMeasuredNorms, kMeasuredNorms);
}

double residual_of(const MeasuredStep& step) {
  return relative_residual(step.correction[kDifference], step.correction[kReference]);
}

bool is_rounding(const MeasuredStep& step, double unit) {
  return is_rounding(step.correction[kDifference], step.correction[kState], unit);
}

StepChoice next_choice(const StepChoice& choice, const MeasuredStep& found, double unit, const DelayedLimits& limits) {
  StepChoice next = choice;
  next.wait = std::max<int64_t>(0, choice.wait - 1);
  if (choice.keep) return choice.wait > 0 ? next : StepChoice();
  const double residual = residual_of(found);
  const bool settled = residual <= limits.tolerance || is_rounding(found, unit);
  const int64_t least = choice.extrapolate ? 0 : 1;
  if (choice.extrapolate && !settled && !(residual < kWorthwhile)) return {false, 1, false, kLookAgain};
  // An iteration that led further away than x~ had come from y: the fixed point repels, and the corrected update with
  // it.
  if (!settled && !(found.correction[kDifference] < found.correction[kMoved])) return {false, 0, true, kLookAgain};
  if (!settled) {
    next.iterations = std::min(choice.iterations + 1, least + limits.iterations);
  } else if (choice.iterations > least) {
    // Residuals fall by about the same factor with each evaluation; one less has to do with some room.
    const auto count = static_cast<double>(choice.iterations);
    if (std::pow(residual, count / (count + 1)) < limits.tolerance / 2) --next.iterations;
  }
  const bool looked = found.foresight[kReference] > 0;
  if (looked) {
    next.wait = kLookAgain;
    const bool worthwhile =
        std::sqrt(found.foresight[kDifference]) < kWorthwhile * std::sqrt(found.correction[kReference]);
    if (worthwhile) next.extrapolate = true, next.iterations = 0;
  }
  return next;
}

DelayedAdaptive::DelayedAdaptive(int64_t steps, const DelayedLimits& limits)
    : limits_(limits), choices_(static_cast<size_t>(steps)) {}

std::vector<StepChoice> DelayedAdaptive::begin() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (found_ != nullptr && found_->arrived()) {
    const std::vector<double> norms = found_->values();
    for (size_t n = 0; n < choices_.size(); ++n) {
      const auto row = [&](int64_t index) { return norms.data() + index * kMeasuredNorms; };
      const auto step = static_cast<int64_t>(n);
      choices_[n] = next_choice(measured_[n], {row(correction_row(step)), row(foresight_row(step))}, unit_, limits_);
    }
    found_.reset();
  }
  return choices_;
}

void DelayedAdaptive::end(std::vector<StepChoice> choices, std::shared_ptr<const Readback> found, double unit) {
  const std::lock_guard<std::mutex> lock(mutex_);
  measured_ = std::move(choices);
  found_ = std::move(found);
  unit_ = unit;
}

std::unique_ptr<Predictor> delayed_predictor(std::vector<StepChoice> choices, const Tensor& norms) {
  return std::make_unique<Delayed>(std::move(choices), norms);
}

void delay_on_cpu(bool on) { delays_on_cpu = on; }

bool delays(const Tensor& x) { return !x.is_cpu() || delays_on_cpu; }

}  // namespace resnet_nodes
