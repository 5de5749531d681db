// policy.h: what `adaptive` decides, and from which figures. It decides at once where they are on the host (settle.h),
// and for the next pass where they arrive late; what it keeps is for the next pass in either case (learned.h).
#pragma once

#include <cstdint>

namespace resnet_nodes {

/// When a step is found, when an iteration helps, when a prediction is worth its place, and when a state is.
struct AdaptivePolicy {
  double tolerance = 0;    ///< of the relative error of the state at which the product is taken
  int64_t iterations = 0;  ///< beyond the first prediction, at most

  /// Iterations where the caller does not say.
  static constexpr int64_t kIterations = 6;
  /// Increments that a prediction is made from.
  static constexpr int64_t kOrder = 2;
  /// Steps from which on they are kept for it: in a short stage they take as much memory as the states that are kept,
  /// and save few evaluations.
  static constexpr int64_t kLeastForesight = 8;
  /// Steps, or passes, after which what was given up is looked at again.
  static constexpr int64_t kLookAgain = 8;
  /// Passes after which a kept state is first looked at; twice as many each time that it was kept anew, up to the most.
  static constexpr int64_t kFirstWait = 16;
  static constexpr int64_t kLongestWait = 1024;
  /// Evaluations of a step that finding it is worth: those of `corrected`. A dearer one is kept.
  static constexpr int64_t kWorth = 2;
  /// Where figures arrive a pass late, a step's error may grow by this much until they do.
  static constexpr double kLateMargin = 4;

  /// The same for figures that arrive late.
  AdaptivePolicy late() const { return {tolerance / kLateMargin, iterations}; }
  /// The error of a state from the estimate and from what its sample shows. A sample of a few elements scatters by a
  /// half at times: it counts where it contradicts the estimate.
  static double error(double estimated, double seen) { return seen > 2 * estimated ? seen : estimated; }
  /// Whether a step with this error is found.
  bool settles(double error) const { return error <= tolerance; }
  /// The error that so many evaluations of a step are to lead to. What costs more than it is worth will be kept: the
  /// few passes until then can afford to be exact.
  double aim(int64_t evaluations) const { return evaluations > kWorth ? tolerance / 2 : tolerance; }
  /// Whether a step that was kept is given up: with room to spare, or it would soon be kept again.
  bool releases(double error) const { return error <= tolerance / 2; }
  /// Whether a prediction that is `off` is a better start than y, which is off by the increment, after one evaluation.
  static bool is_worthwhile(double off, double increment) { return off <= 0.5 * increment; }
};

}  // namespace resnet_nodes
