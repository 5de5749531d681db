#include "walk/adaptive/estimate.h"

#include <cmath>
#include <limits>

namespace resnet_nodes {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double square(double value) { return value * value; }

}  // namespace

double relative_error(double difference, double reference) {
  if (difference == 0) return 0;
  return reference > 0 ? std::sqrt(difference / reference) : kInfinity;
}

double ErrorEstimate::contraction(const StepNorms& found, int64_t iterations) const {
  if (is_rounding(found)) return 0;
  // The first iteration moved y by |Phi(y)|, which is at least |Phi(x~)| - r.
  const double residual = relative_error(found.difference, found.reference);
  const double left = residual < 1 ? residual / (1 - residual) : kInfinity;
  return iterations > 1 ? std::pow(left, 1 / static_cast<double>(iterations)) : left;
}

double ErrorEstimate::contraction(const StepNorms& before, const StepNorms& found) const {
  return is_rounding(found) ? 0 : relative_error(found.difference, before.difference);
}

double ErrorEstimate::at(const StepNorms& found, double q) const {
  if (!(q < 1)) return kInfinity;
  return relative_error(found.difference / square(1 - q) + carried(q) + rounding(found.state), found.state);
}

int64_t ErrorEstimate::missing(const StepNorms& found, double q, double tolerance) const {
  if (!(q < 1)) return -1;
  const double left = square(tolerance) * found.state - carried(q) - rounding(found.state);
  if (!(left > 0)) return -1;
  const double off = found.difference / square(1 - q);
  if (off <= left) return 0;
  return q > 0 ? static_cast<int64_t>(std::ceil(std::log(left / off) / (2 * std::log(q)))) : 1;
}

void ErrorEstimate::carry(const StepNorms& found, double q) {
  carried_ =
      q < 1 ? (carried_ + found.difference * square(q / (1 - q))) / (1 - square(q)) + rounding(found.state) : kInfinity;
}

bool ErrorEstimate::is_rounding(const StepNorms& found) const {
  return std::sqrt(found.difference) <= 4 * unit_ * std::sqrt(found.state);
}

double ErrorEstimate::rounding(double state) const { return square(unit_ / 2) * state; }

double ErrorEstimate::carried(double q) const { return carried_ / (1 - square(q)); }

}  // namespace resnet_nodes
