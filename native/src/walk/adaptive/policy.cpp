#include "walk/adaptive/policy.h"

#include <cmath>
#include <limits>

namespace resnet_nodes {

double relative_residual(double difference, double increment) {
  if (difference == 0) return 0;
  return increment > 0 ? std::sqrt(difference / increment) : std::numeric_limits<double>::infinity();
}

bool is_rounding(double difference, double state, double unit) {
  return std::sqrt(difference) <= 4 * unit * std::sqrt(state);
}

// Residuals fall by about the same factor with each evaluation; one less has to do with some room.
bool AdaptivePolicy::one_less_settles(double residual, int64_t count) const {
  const auto evaluations = static_cast<double>(count);
  return std::pow(residual, evaluations / (evaluations + 1)) < tolerance / 2;
}

}  // namespace resnet_nodes
