// fixed_point.cpp: predictors that evaluate the step: the fixed point y = x + Phi(x), and the solver's reverse step.
#include "walk/predictors/predictor.h"

namespace resnet_nodes {
namespace {

class FixedPoint final : public Predictor {
 public:
  explicit FixedPoint(int64_t iterations) : iterations_(iterations) {}

  Prediction predict(const Recursion& recursion, int64_t n, const Tensor& y) override {
    Tensor x = y;
    for (int64_t k = 0; k < iterations_; ++k) {
      const Tensor before = x;
      x = recursion.solver.refine(recursion.functions, n, y, before, recursion.h);
      if (k > 0) recursion.functions.recycle(before);
      evaluations_ += recursion.solver.evaluations_per_step();
    }
    return {x, StateSource::found, iterations_};
  }

  int64_t evaluations() const override { return evaluations_; }
  void observe(const Recursion&, const FoundStep&) override {}

 private:
  int64_t iterations_;
  int64_t evaluations_ = 0;
};

class Undo final : public Predictor {
 public:
  Prediction predict(const Recursion& recursion, int64_t n, const Tensor& y) override {
    evaluations_ += recursion.solver.evaluations_per_step();
    return {recursion.solver.undo(recursion.functions, n, y, recursion.h)};
  }

  int64_t evaluations() const override { return evaluations_; }
  void observe(const Recursion&, const FoundStep&) override {}

 private:
  int64_t evaluations_ = 0;
};

}  // namespace

std::unique_ptr<Predictor> fixed_point_predictor(int64_t iterations) {
  return std::make_unique<FixedPoint>(iterations);
}

std::unique_ptr<Predictor> undo_predictor() { return std::make_unique<Undo>(); }

}  // namespace resnet_nodes
