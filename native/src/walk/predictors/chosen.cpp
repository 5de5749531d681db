// chosen.cpp: the prediction that was chosen before the pass began (learned.h).
#include "tensors/norms.h"
#include "walk/predictors/predictor.h"
#include "walk/predictors/slopes.h"

namespace resnet_nodes {
namespace {

class Chosen final : public Predictor {
 public:
  explicit Chosen(const WalkInputs& inputs) : choices_(inputs.choices), norms_(inputs.norms) {}

  Prediction predict(const Recursion& recursion, int64_t n, const Tensor& y) override {
    if (is_free(n)) return {slopes_.foreseen(recursion.functions, y, recursion.h)};
    evaluations_ += recursion.solver.evaluations_per_step();
    return {recursion.solver.refine(recursion.functions, n, y, y, recursion.h), StateSource::found, 1};
  }

  int64_t evaluations() const override { return evaluations_; }

  void observe(const Recursion& recursion, const FoundStep& found) override {
    const StepChoice& choice = choices_[static_cast<size_t>(found.n)];
    if (choice.way != Way::foresee && choice.is_due() && slopes_.ready()) {
      const Tensor seen = slopes_.foreseen(recursion.functions, found.y, recursion.h);
      distance_measured(seen, found.state, norm_row(norms_, foreseen_row(found.n)));
      recursion.functions.recycle(seen);
    }
    slopes_.add(recursion.functions, found.slope);
  }

  bool keeps_slopes() const override { return true; }
  bool is_free(int64_t n) const override {
    return choices_[static_cast<size_t>(n)].way == Way::foresee && slopes_.ready();
  }

 private:
  const Choices& choices_;
  Tensor norms_;
  int64_t evaluations_ = 0;
  Slopes slopes_{AdaptivePolicy::kOrder};
};

}  // namespace

std::unique_ptr<Predictor> chosen_predictor(const WalkInputs& inputs) { return std::make_unique<Chosen>(inputs); }

}  // namespace resnet_nodes
