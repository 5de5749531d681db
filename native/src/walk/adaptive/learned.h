// learned.h: adaptive where reading a figure would stall the device: decides from what the passes before have found.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "device/readback.h"
#include "walk/adaptive/policy.h"

namespace resnet_nodes {

/// How one step is reconstructed in a pass. The default, with nothing known: as `corrected` does.
struct StepChoice {
  bool extrapolate = false;  ///< start from the foreseen increment, else from y
  int64_t iterations = 1;    ///< x~ <- y - Phi(x~), so often, before the evaluation with a tape
  bool keep = false;         ///< the fixed point repels: x~ = y, and the state stays y
  int64_t wait = 0;          ///< passes until extrapolation, or the fixed point, is looked at again

  /// Whether the pass looks if extrapolation would do.
  bool looks() const { return !extrapolate && !keep && wait == 0; }
};
/// Whether passes with these choices do the same.
bool same_walk(const std::vector<StepChoice>& a, const std::vector<StepChoice>& b);

/// Rows of norms (MeasuredNorm) of one pass: of the correction of step n, of the state that extrapolation would have
/// foreseen for it (zeros where nobody looked), and one of the input's error.
constexpr int64_t correction_row(int64_t n) { return 2 * n; }
constexpr int64_t foresight_row(int64_t n) { return 2 * n + 1; }
constexpr int64_t input_row(int64_t steps) { return 2 * steps; }
constexpr int64_t row_count(int64_t steps) { return 2 * steps + 1; }

/// A row of norms that has arrived on the host.
inline const double* arrived_row(const std::vector<double>& norms, int64_t row) {
  return norms.data() + row * kMeasuredNorms;
}

/// Norms of one step on the host.
struct MeasuredStep {
  const double* correction;
  const double* foresight;

  /// Of step n, in a pass's norms.
  static MeasuredStep of(const std::vector<double>& norms, int64_t n) {
    return {arrived_row(norms, correction_row(n)), arrived_row(norms, foresight_row(n))};
  }
  /// |x~ - out| / |increment|.
  double residual() const;
  /// Whether what is left is rounding. `unit`: that of the state's dtype.
  bool is_rounding(double unit) const;
};

/// What the next pass does for a step, from what this one did and found.
StepChoice next_choice(const StepChoice& choice, const MeasuredStep& found, double unit, const AdaptivePolicy& policy);

/// What a stage has learned of its steps. Calls may come from any thread.
class LearnedChoices {
 public:
  LearnedChoices(int64_t steps, const AdaptivePolicy& policy);
  /// The choices for a pass that begins: takes in what has arrived of the last one, and keeps the older ones where it
  /// has not.
  std::vector<StepChoice> begin();
  /// What a pass with these choices found.
  void end(std::vector<StepChoice> choices, std::shared_ptr<const Readback> found, double unit);

 private:
  std::mutex mutex_;
  AdaptivePolicy policy_;
  std::vector<StepChoice> choices_;
  std::vector<StepChoice> measured_;  // those that found_ belongs to
  std::shared_ptr<const Readback> found_;
  double unit_ = 0;
};

/// Whether figures of x's device arrive late.
bool arrives_late(const Tensor& x);
/// For tests: lets those of CPU tensors arrive late too.
void delay_on_cpu(bool on);

}  // namespace resnet_nodes
