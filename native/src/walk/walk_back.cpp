#include "walk/walk_back.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "walk/adaptive/settle.h"

namespace resnet_nodes {
namespace {

// One step back: where the gradient is taken, and the state before the step.
struct Back {
  Tensor predicted;
  Tensor state;
};

// The walk's steps, by what they do with the figures of an evaluation.
class Walk {
 public:
  Walk(const WalkPlan& plan, std::unique_ptr<Predictor> predictor, const Recursion& recursion, const Tensor& norms)
      : plan_(plan),
        predictor_(std::move(predictor)),
        recursion_(recursion),
        norms_(norms),
        tape_(recursion.solver.make_tape(recursion.functions)) {
    const bool reports = plan_.correct && !norms_.defined();
    report.residuals.assign(reports ? static_cast<size_t>(recursion.steps) : 0, 0.0);
  }

  Back step(int64_t n, const Tensor& y, const Tensor& cotangent) {
    const Tensor predicted = predictor_->predict(recursion_, n, y);
    if (!plan_.correct) return kept(n, predicted);
    const StepBack back{recursion_, n, y, cotangent, predictor_->keeps_slopes(), tape_};
    return norms_.defined() ? measured(back, predicted) : settled(back, predicted);
  }

  Tensor vjp(int64_t n, const Tensor& cotangent) {
    return recursion_.solver.vjp(recursion_.functions, n, tape_, cotangent, recursion_.h);
  }

  /// Once the walk is over.
  void finish() {
    report.evaluations += predictor_->evaluations();
    std::reverse(report.failed_steps.begin(), report.failed_steps.end());
  }

  StageReport report;

 private:
  // The prediction is the state.
  Back kept(int64_t n, const Tensor& predicted) {
    recursion_.solver.slope(recursion_.functions, n, predicted, recursion_.h, &tape_);
    report.evaluations += recursion_.solver.evaluations_per_step();
    return {predicted, predicted};
  }

  // Nothing waits for the figures.
  Back measured(const StepBack& back, const Tensor& predicted) {
    recursion_.functions.measure_into(norm_row(norms_, correction_row(back.n)));
    const Corrected found = back.correct(predicted);
    report.evaluations += recursion_.solver.evaluations_per_step();
    predictor_->observe(recursion_, {back.y, found.state, found.slope, 0, 0});
    return {predicted, predictor_->keeps_state(back.n) ? predicted : found.state};
  }

  Back settled(const StepBack& back, const Tensor& predicted) {
    const SettledStep step = settle(plan_.policy ? &*plan_.policy : nullptr, back, predicted);
    report.evaluations += step.evaluations * recursion_.solver.evaluations_per_step();
    report.residuals[static_cast<size_t>(back.n)] = step.residual;
    if (!step.settled) report.failed_steps.push_back(back.n);
    const double increment = std::sqrt(step.found.norms.reference);
    predictor_->observe(recursion_, {back.y, step.found.state, step.found.slope, step.first_residual, increment});
    return {step.predicted, step.found.state};
  }

  const WalkPlan& plan_;
  std::unique_ptr<Predictor> predictor_;
  const Recursion& recursion_;
  Tensor norms_;
  StepTape tape_;
};

}  // namespace

WalkResult walk_back(const WalkPlan& plan, std::unique_ptr<Predictor> predictor, const Recursion& recursion,
                     const Tensor& output, const Tensor& grad, const Tensor& norms) {
  ResidualFunctions& functions = recursion.functions;
  Walk walk(plan, std::move(predictor), recursion, norms);
  Tensor y = output, g = grad;
  for (int64_t n = recursion.steps; n-- > 0;) {
    const Back back = walk.step(n, y, g);
    const Tensor before = walk.vjp(n, g);
    functions.recycle(g);
    if (back.state.get() != y.get()) functions.recycle(y);
    if (back.state.get() != back.predicted.get() && back.predicted.get() != y.get()) functions.recycle(back.predicted);
    g = before;
    y = back.state;
  }
  walk.finish();
  return {g, y, std::move(walk.report)};
}

}  // namespace resnet_nodes
