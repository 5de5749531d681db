// stored.cpp: predictions from stored states: a replay between them, or what is found where that costs no more.
#include <utility>

#include "tensors/norms.h"
#include "walk/adaptive/estimate.h"
#include "walk/predictors/predictor.h"

namespace resnet_nodes {
namespace {

// checkpoint's.
class Replaying final : public Predictor {
 public:
  explicit Replaying(const WalkInputs& inputs) : known_(inputs.known) {}

  Prediction predict(const Recursion& recursion, int64_t n, const Tensor&) override {
    // Each tape goes with the step after it.
    if (!segment_.empty()) segment_.pop_back();
    if (segment_.empty()) replay(recursion, n);
    const StateSource source = known_.has(n) ? StateSource::kept : StateSource::replayed;
    return {known_.has(n) ? known_.at(n) : Tensor(), source, 0, &segment_.back()};
  }

  int64_t evaluations() const override { return evaluations_; }
  void observe(const Recursion&, const FoundStep&) override {}

 private:
  // Tapes of step n and those before it, from the nearest state on.
  void replay(const Recursion& recursion, int64_t n) {
    int64_t m = n - known_.distance(n);
    for (Tensor x = known_.at(m); m <= n; ++m) {
      segment_.push_back(recursion.solver.make_tape(recursion.functions));
      const Tensor slope = recursion.solver.slope(recursion.functions, m, x, recursion.h, &segment_.back());
      evaluations_ += recursion.solver.evaluations_per_step();
      if (m < n) x = add_scaled(x, slope, recursion.h);
    }
  }

  KnownStates& known_;
  std::vector<StepTape> segment_;
  int64_t evaluations_ = 0;
};

class Adaptive final : public Predictor {
 public:
  Adaptive(const WalkInputs& inputs, std::unique_ptr<Predictor> finding)
      : known_(inputs.known), choices_(inputs.choices), norms_(inputs.norms), finding_(std::move(finding)) {
    while (lowest_found_ < inputs.recursion.steps && is_had(lowest_found_)) ++lowest_found_;
  }

  Prediction predict(const Recursion& recursion, int64_t n, const Tensor& y) override {
    const StepChoice& choice = choices_[static_cast<size_t>(n)];
    looked_ = -1;
    // A replay of one step costs what an iteration does, and is exact.
    const bool at_hand = known_.has(n) || (known_.distance(n) == 1 && !finding_->is_free(n));
    if (choice.way != Way::exact && !at_hand) return finding_->predict(recursion, n, y);
    const Tensor x = known_.at(n);
    if (choice.way == Way::exact && choice.is_due()) look(recursion, n, y, x);
    return {x, known_.source(n), 0, nullptr};
  }

  int64_t evaluations() const override { return finding_->evaluations(); }
  void observe(const Recursion& recursion, const FoundStep& found) override { finding_->observe(recursion, found); }
  bool keeps_slopes() const override { return finding_->keeps_slopes(); }
  bool learns_from(int64_t n) const override { return n > lowest_found_; }
  double looked() const override { return looked_; }

 private:
  // Whether step n is had without a prediction, and nobody looks what one would be.
  bool is_had(int64_t n) const {
    const StepChoice& choice = choices_[static_cast<size_t>(n)];
    if (choice.way == Way::exact) return !choice.is_due();
    return known_.has(n) || (n > 0 && known_.has(n - 1));
  }

  // What would have been found.
  void look(const Recursion& recursion, int64_t n, const Tensor& y, const Tensor& x) {
    const Tensor seen = finding_->predict(recursion, n, y).state;
    if (norms_.defined()) {
      distance_measured(seen, x, norm_row(norms_, iterated_row(n)));
    } else {
      const StepNorms off = distance(seen, x);
      looked_ = relative_error(off.difference, off.reference);
    }
    recursion.functions.recycle(seen);
  }

  KnownStates& known_;
  const Choices& choices_;
  Tensor norms_;
  std::unique_ptr<Predictor> finding_;
  double looked_ = -1;
  int64_t lowest_found_ = 0;  // the first step of the way there that takes a prediction
};

}  // namespace

std::unique_ptr<Predictor> replaying_predictor(const WalkInputs& inputs) { return std::make_unique<Replaying>(inputs); }

std::unique_ptr<Predictor> adaptive_predictor(const WalkInputs& inputs) {
  if (inputs.recursion.steps < AdaptivePolicy::kLeastForesight) {
    return std::make_unique<Adaptive>(inputs, fixed_point_predictor(1));
  }
  return std::make_unique<Adaptive>(inputs, inputs.norms.defined()
                                                ? chosen_predictor(inputs)
                                                : distrustful_extrapolation_predictor(AdaptivePolicy::kOrder));
}

}  // namespace resnet_nodes
