// extrapolation.cpp: the next increment foreseen from the last ones by a polynomial in n; no evaluation.
#include <cmath>
#include <deque>

#include "reconstruction.h"

namespace resnet_nodes {
namespace {

// A prediction this far off, relative to the increment, is no better a start than y itself after one evaluation.
constexpr double kWorthwhile = 0.5;
// Steps after which a distrusted extrapolation is looked at again: one pass over the state, no evaluation.
constexpr int64_t kLookAgain = 8;

const std::vector<double>& coefficients(int64_t order) {
  static const std::vector<double> kLinear{2, -1}, kQuadratic{3, -3, 1};
  return order == 2 ? kLinear : kQuadratic;
}

class Extrapolation final : public Predictor {
 public:
  Extrapolation(int64_t order, bool distrust)
      : order_(order),
        distrust_(distrust),
        // Without iterations afterwards, the first steps must be as exact as those that build on them.
        fallback_(fixed_point_predictor(distrust ? 1 : order)) {}

  Tensor predict(const Recursion& recursion, int64_t n, const Tensor& y) override {
    extrapolated_ = ready() && trusted_;
    return extrapolated_ ? foreseen(recursion, y) : fallback_->predict(recursion, n, y);
  }

  int64_t evaluations() const override { return fallback_->evaluations(); }

  void observe(const Recursion& recursion, const FoundStep& found) override {
    if (distrust_) learn(recursion, found);
    slopes_.push_front(found.slope);
    if (static_cast<int64_t>(slopes_.size()) > order_) {
      recursion.functions.recycle(slopes_.back());
      slopes_.pop_back();
    }
  }

  bool keeps_slopes() const override { return true; }

 private:
  bool ready() const { return static_cast<int64_t>(slopes_.size()) == order_; }

  Tensor foreseen(const Recursion& recursion, const Tensor& y) const {
    return extrapolate(y, {slopes_.begin(), slopes_.end()}, coefficients(order_), recursion.h,
                       recursion.functions.spare(y));
  }

  void learn(const Recursion& recursion, const FoundStep& found) {
    if (extrapolated_) {
      trusted_ = found.residual < kWorthwhile;
      wait_ = kLookAgain;
    } else if (ready() && --wait_ <= 0) {
      const Tensor seen = foreseen(recursion, found.y);
      const double off = std::sqrt(distance(seen, found.state).difference);
      recursion.functions.recycle(seen);
      trusted_ = off < kWorthwhile * found.increment;
      wait_ = kLookAgain;
    }
  }

  int64_t order_;
  bool distrust_;
  bool trusted_ = true;
  bool extrapolated_ = false;
  int64_t wait_ = kLookAgain;
  std::deque<Tensor> slopes_;  // the latest, which is the one of the highest n, last
  std::unique_ptr<Predictor> fallback_;
};

}  // namespace

std::unique_ptr<Predictor> extrapolation_predictor(int64_t order, bool distrust) {
  return std::make_unique<Extrapolation>(order, distrust);
}

}  // namespace resnet_nodes
