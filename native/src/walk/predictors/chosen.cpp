// chosen.cpp: the prediction that was chosen before the pass began (learned.h).
#include <utility>

#include "walk/predictors/predictor.h"
#include "walk/predictors/slopes.h"

namespace resnet_nodes {
namespace {

class Chosen final : public Predictor {
 public:
  Chosen(std::vector<StepChoice> choices, const Tensor& norms) : choices_(std::move(choices)), norms_(norms) {}

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
  Slopes slopes_{AdaptivePolicy::kOrder};
};

}  // namespace

std::unique_ptr<Predictor> chosen_predictor(std::vector<StepChoice> choices, const Tensor& norms) {
  return std::make_unique<Chosen>(std::move(choices), norms);
}

}  // namespace resnet_nodes
