// learned.h: what adaptive has learned of a stage's steps from pass to pass: which of them need their state, and, where
// reading a figure would stall the device, how each of the others is found.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "device/readback.h"
#include "kernels/step_norms.h"
#include "resnet_nodes/stage.h"
#include "walk/adaptive/policy.h"

namespace resnet_nodes {

/// How x_n is had.
enum class Way {
  iterate,  ///< found, by one iteration and as many more as it takes where figures are there at once
  foresee,  ///< found by extrapolation; chosen only where figures arrive late: elsewhere the walk sees by itself
  exact,    ///< kept, or replayed from a state that is
};

/// How one step is had in a pass.
struct StepChoice {
  Way way = Way::iterate;
  int64_t wait = 0;                               ///< passes until another way is looked at
  int64_t patience = AdaptivePolicy::kFirstWait;  ///< how long a state that is kept again will wait

  bool is_due() const { return wait == 0; }
};
/// Of all steps of a pass; empty for methods that choose nothing.
using Choices = std::vector<StepChoice>;
/// Whether passes with these choices do the same.
bool same_walk(const Choices& a, const Choices& b);
/// The steps whose state the forward pass keeps: x_0, and those that want theirs as long as that makes no more than
/// `most`; beyond that half as many, evenly among them, and the way back replays the others.
std::vector<int64_t> kept_steps(const Choices& choices, int64_t most);

/// What a pass found of one step.
struct StepFindings {
  StateSource source = StateSource::found;
  int64_t iterations = 0;   ///< of the prediction
  int64_t evaluations = 0;  ///< of functions, replays for this step included
  double error = -1;        ///< relative; -1: not measured, or on its way
  double iterated = -1;     ///< relative error of what would have been found of a known state; -1: nobody looked
  double foreseen = -1;     ///< that of a foreseen state, where it was not the prediction; -1: nobody looked
  bool dear = false;        ///< it could not be found, or not at a worthwhile price
  bool suspected = false;   ///< a replay for such a step came by, and nobody has tried this one
};
/// What the next pass does for a step.
StepChoice next_choice(const StepChoice& choice, const StepFindings& found, const AdaptivePolicy& policy);

/// Rows of norms (MeasuredNorm) of one pass: of the correction of step n, of the samples of its state, of the two other
/// ways that were looked at there (zeros where nobody did), and one of the input's error.
constexpr int64_t correction_row(int64_t n) { return 4 * n; }
constexpr int64_t sample_row(int64_t n) { return 4 * n + 1; }
constexpr int64_t iterated_row(int64_t n) { return 4 * n + 2; }
constexpr int64_t foreseen_row(int64_t n) { return 4 * n + 3; }
constexpr int64_t input_row(int64_t steps) { return 4 * steps; }
constexpr int64_t row_count(int64_t steps) { return 4 * steps + 1; }
/// A row that has arrived on the host.
StepNorms arrived(const std::vector<double>& norms, int64_t row);
/// Adds to what a walk found of its steps the figures of its norms.
void complete(std::vector<StepFindings>& steps, const std::vector<double>& norms, double unit);

/// What a pass found.
struct PassFindings {
  std::vector<StepFindings> steps;
  double unit = 0;                        ///< the rounding unit of states
  std::shared_ptr<const Readback> norms;  ///< figures on their way; null where all are there
};

/// What a stage has learned of its steps. Calls may come from any thread.
class LearnedSteps {
 public:
  LearnedSteps(int64_t steps, const AdaptivePolicy& policy) : policy_(policy), now_(static_cast<size_t>(steps)) {}
  /// The choices for a pass that begins with x: takes in what has arrived of the last one, and keeps the older choices
  /// where it has not. Where figures arrive late, passes keep states as checkpoint does as long as none have come, and
  /// where the shape is new.
  Choices begin(const Tensor& x);
  /// What the next pass would choose by what has been taken in so far.
  Choices now();
  /// What a pass with these choices found.
  void end(Choices choices, PassFindings found);

  /// All of it as numbers, with what is on its way; and back. Throws Error where they are those of other steps.
  std::vector<double> save();
  void restore(const std::vector<double>& saved);

 private:
  void take_in();

  std::mutex mutex_;
  AdaptivePolicy policy_;
  Choices now_;
  Choices measured_;  // those that found_ belongs to
  PassFindings found_;
  bool informed_ = false;                     // by figures that have arrived
  std::vector<std::vector<int64_t>> shapes_;  // that figures have arrived late of
};

/// Whether figures of x's device arrive late.
bool arrives_late(const Tensor& x);
/// For tests: lets those of CPU tensors arrive late too.
void delay_on_cpu(bool on);

}  // namespace resnet_nodes
