#include "walk/adaptive/learned.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

namespace resnet_nodes {
namespace {

std::atomic<bool> delays_on_cpu{false};

}  // namespace

bool same_walk(const std::vector<StepChoice>& a, const std::vector<StepChoice>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const StepChoice& one, const StepChoice& other) {
    return one.extrapolate == other.extrapolate && one.iterations == other.iterations && one.keep == other.keep &&
           one.looks() == other.looks();
  });
}

double MeasuredStep::residual() const { return relative_residual(correction[kDifference], correction[kReference]); }

bool MeasuredStep::is_rounding(double unit) const {
  return resnet_nodes::is_rounding(correction[kDifference], correction[kState], unit);
}

StepChoice next_choice(const StepChoice& choice, const MeasuredStep& found, double unit, const AdaptivePolicy& policy) {
  constexpr int64_t kLookAgain = AdaptivePolicy::kLookAgain;
  StepChoice next = choice;
  next.wait = std::max<int64_t>(0, choice.wait - 1);
  if (choice.keep) return choice.wait > 0 ? next : StepChoice();
  const double residual = found.residual();
  const bool settled = policy.settles(residual) || found.is_rounding(unit);
  const int64_t least = choice.extrapolate ? 0 : 1;
  if (choice.extrapolate && !settled && !AdaptivePolicy::is_worthwhile(residual, 1))
    return {false, 1, false, kLookAgain};
  if (!settled && AdaptivePolicy::repels(found.correction[kDifference], found.correction[kMoved])) {
    return {false, 0, true, kLookAgain};
  }
  if (!settled) {
    next.iterations = std::min(choice.iterations + 1, least + policy.iterations);
  } else if (choice.iterations > least && policy.one_less_settles(residual, choice.iterations)) {
    --next.iterations;
  }
  const bool looked = found.foresight[kReference] > 0;
  if (looked) {
    next.wait = kLookAgain;
    const double off = std::sqrt(found.foresight[kDifference]), increment = std::sqrt(found.correction[kReference]);
    if (AdaptivePolicy::is_worthwhile(off, increment)) next.extrapolate = true, next.iterations = 0;
  }
  return next;
}

LearnedChoices::LearnedChoices(int64_t steps, const AdaptivePolicy& policy)
    : policy_(policy), choices_(static_cast<size_t>(steps)) {}

std::vector<StepChoice> LearnedChoices::begin() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (found_ != nullptr && found_->arrived()) {
    const std::vector<double> norms = found_->values();
    for (size_t n = 0; n < choices_.size(); ++n) {
      choices_[n] = next_choice(measured_[n], MeasuredStep::of(norms, static_cast<int64_t>(n)), unit_, policy_);
    }
    found_.reset();
  }
  return choices_;
}

void LearnedChoices::end(std::vector<StepChoice> choices, std::shared_ptr<const Readback> found, double unit) {
  const std::lock_guard<std::mutex> lock(mutex_);
  measured_ = std::move(choices);
  found_ = std::move(found);
  unit_ = unit;
}

void delay_on_cpu(bool on) { delays_on_cpu = on; }

bool arrives_late(const Tensor& x) { return !x.is_cpu() || delays_on_cpu; }

}  // namespace resnet_nodes
