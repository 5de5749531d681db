// extrapolation.cpp: the next increment foreseen from the last ones by a polynomial in n; no evaluation.
#include <cmath>

#include "tensors/norms.h"
#include "walk/predictors/predictor.h"
#include "walk/predictors/slopes.h"

namespace resnet_nodes {
namespace {

class Extrapolation : public Predictor {
 public:
  /// `first`: fixed-point iterations of the steps that have too few slopes before them.
  Extrapolation(int64_t order, int64_t first) : slopes_(order), fallback_(fixed_point_predictor(first)) {}

  Prediction predict(const Recursion& recursion, int64_t n, const Tensor& y) override {
    if (!is_free(n)) return fallback_->predict(recursion, n, y);
    return {slopes_.foreseen(recursion.functions, y, recursion.h)};
  }

  int64_t evaluations() const override { return fallback_->evaluations(); }

  void observe(const Recursion& recursion, const FoundStep& found) override {
    slopes_.add(recursion.functions, found.slope);
  }

  bool keeps_slopes() const override { return true; }
  bool is_free(int64_t) const override { return slopes_.ready() && trusted(); }

 protected:
  virtual bool trusted() const { return true; }
  const Slopes& slopes() const { return slopes_; }

 private:
  Slopes slopes_;
  std::unique_ptr<Predictor> fallback_;
};

// Stops where the foreseen increments are far off, and looks again later: one pass over the state, no evaluation.
class DistrustfulExtrapolation final : public Extrapolation {
 public:
  explicit DistrustfulExtrapolation(int64_t order) : Extrapolation(order, 1) {}

  void observe(const Recursion& recursion, const FoundStep& found) override {
    if (is_free(found.n)) {
      if (!found.known) trusted_ = AdaptivePolicy::is_worthwhile(found.residual, 1);
      wait_ = AdaptivePolicy::kLookAgain;
    } else if (slopes().ready() && --wait_ <= 0) {
      const Tensor seen = slopes().foreseen(recursion.functions, found.y, recursion.h);
      const double off = std::sqrt(distance(seen, found.state).difference);
      recursion.functions.recycle(seen);
      trusted_ = AdaptivePolicy::is_worthwhile(off, found.increment);
      wait_ = AdaptivePolicy::kLookAgain;
    }
    Extrapolation::observe(recursion, found);
  }

 protected:
  bool trusted() const override { return trusted_; }

 private:
  bool trusted_ = false;
  int64_t wait_ = 0;
};

}  // namespace

std::unique_ptr<Predictor> extrapolation_predictor(int64_t order) {
  // Without iterations afterwards, the first steps must be as exact as those that build on them.
  return std::make_unique<Extrapolation>(order, order);
}

std::unique_ptr<Predictor> distrustful_extrapolation_predictor(int64_t order) {
  return std::make_unique<DistrustfulExtrapolation>(order);
}

}  // namespace resnet_nodes
