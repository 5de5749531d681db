// step_norms.h: what the loops of a step measure on their way.
#pragma once

namespace resnet_nodes {

/// Sums of squares that a pass brings along, added in double over blocks of fixed size, so that they do not depend on
/// the number of threads.
struct StepNorms {
  double difference = 0;  ///< sum of (x~ - out)^2
  double reference = 0;   ///< sum of the squared increment
  double state = 0;       ///< sum of out^2
};

/// The same where they stay with the tensors, as doubles in this order.
enum MeasuredNorm { kDifference = 0, kReference = 1, kState = 2, kMeasuredNorms = 3 };

}  // namespace resnet_nodes
