// extrapolation.cpp: the next increment foreseen from the last ones by a polynomial in n; no evaluation.
#include <cmath>

#include "reconstruction.h"
#include "slopes.h"

namespace resnet_nodes {
namespace {

// Steps after which a distrusted extrapolation is looked at again: one pass over the state, no evaluation.
constexpr int64_t kLookAgain = 8;

class Extrapolation final : public Predictor {
 public:
  Extrapolation(int64_t order, bool distrust)
      : distrust_(distrust),
        slopes_(order),
        // Without iterations afterwards, the first steps must be as exact as those that build on them.
        fallback_(fixed_point_predictor(distrust ? 1 : order)) {}

  Tensor predict(const Recursion& recursion, int64_t n, const Tensor& y) override {
    extrapolated_ = slopes_.ready() && trusted_;
    return extrapolated_ ? slopes_.foreseen(recursion.functions, y, recursion.h) : fallback_->predict(recursion, n, y);
  }

  int64_t evaluations() const override { return fallback_->evaluations(); }

  void observe(const Recursion& recursion, const FoundStep& found) override {
    if (distrust_) learn(recursion, found);
    slopes_.add(recursion.functions, found.slope);
  }

  bool keeps_slopes() const override { return true; }

 private:
  void learn(const Recursion& recursion, const FoundStep& found) {
    if (extrapolated_) {
      trusted_ = found.residual < kWorthwhile;
      wait_ = kLookAgain;
    } else if (slopes_.ready() && --wait_ <= 0) {
      const Tensor seen = slopes_.foreseen(recursion.functions, found.y, recursion.h);
      const double off = std::sqrt(distance(seen, found.state).difference);
      recursion.functions.recycle(seen);
      trusted_ = off < kWorthwhile * found.increment;
      wait_ = kLookAgain;
    }
  }

  bool distrust_;
  bool trusted_ = true;
  bool extrapolated_ = false;
  int64_t wait_ = kLookAgain;
  Slopes slopes_;
  std::unique_ptr<Predictor> fallback_;
};

}  // namespace

std::unique_ptr<Predictor> extrapolation_predictor(int64_t order, bool distrust) {
  return std::make_unique<Extrapolation>(order, distrust);
}

}  // namespace resnet_nodes
