// slopes.h: the latest slopes of a walk back, and the increment that they foresee.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "functions/residual_functions.h"
#include "tensors/fused_steps.h"

namespace resnet_nodes {

class Slopes {
 public:
  /// `order`: how many are kept, 2 or 3; the polynomial in n that goes through them is of one degree less.
  explicit Slopes(int64_t order) : order_(static_cast<size_t>(order)) {}

  bool ready() const { return slopes_.size() == order_; }

  /// y less the foreseen increment of a step of size h, once ready; in memory that the functions can spare.
  Tensor foreseen(ResidualFunctions& functions, const Tensor& y, double h) const {
    static const std::vector<double> kLinear{2, -1}, kQuadratic{3, -3, 1};
    return extrapolate(y, {slopes_.begin(), slopes_.end()}, order_ == 2 ? kLinear : kQuadratic, h, functions.spare(y));
  }

  /// The slope of the step before those; the oldest one's memory goes back to the functions.
  void add(ResidualFunctions& functions, const Tensor& slope) {
    slopes_.push_front(slope);
    if (slopes_.size() <= order_) return;
    functions.recycle(slopes_.back());
    slopes_.pop_back();
  }

 private:
  size_t order_;
  std::deque<Tensor> slopes_;  // the latest, which is that of the lowest n, first
};

}  // namespace resnet_nodes
