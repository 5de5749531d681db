#include "walk/walk_back.h"

#include <cmath>
#include <string>
#include <utility>

#include "resnet_nodes/error.h"
#include "tensors/norms.h"
#include "walk/adaptive/settle.h"

namespace resnet_nodes {
namespace {

// One step back: where the gradient is taken, the state before the step, and the tape of the former.
struct Back {
  Tensor predicted;
  Tensor state;
  StepTape* tape;
};

bool is_finite(const StepNorms& norms) { return std::isfinite(norms.difference + norms.reference + norms.state); }

// The walk's steps, by what they do with the figures of an evaluation.
class Walk {
 public:
  Walk(const WalkPlan& plan, const Recursion& recursion, StoredStates& stored, const Choices& choices,
       const Tensor& grad, const Tensor& norms)
      : plan_(plan),
        recursion_(recursion),
        norms_(norms),
        known_(recursion, stored, plan.most_states),
        tapes_(stored.tapes),
        first_tape_(recursion.steps - static_cast<int64_t>(stored.tapes.size())),
        predictor_(plan.new_predictor({recursion, known_, choices, norms_})),
        tape_(recursion.solver.make_tape(recursion.functions)),
        unit_(rounding_unit(grad)),
        estimate_(unit_),
        samples_(stored.samples),
        recycles_(!stored.kept) {
    steps_.resize(static_cast<size_t>(recursion.steps));
  }

  /// Lets go of y where nothing reads it any more.
  Back step(int64_t n, Tensor& y, const Tensor& cotangent) {
    // Each tape goes with the step after it.
    if (recycles_ && !tapes_.empty() && n + 1 < recursion_.steps) tapes_.pop_back();
    if (n >= first_tape_) return taped(n);
    const int64_t before = evaluations();
    const Prediction predicted = predictor_->predict(recursion_, n, y);
    StepFindings& step = at(n);
    step.source = predicted.source, step.iterations = predicted.iterations, step.iterated = predictor_->looked();
    StepBack back{recursion_, n, y, cotangent, predictor_->keeps_slopes(), tape_, samples_};
    const bool alone = predicted.source != StateSource::found && predicted.tape == nullptr && !norms_.defined() &&
                       !predictor_->learns_from(n);
    const Back result = predicted.tape != nullptr ? Back{predicted.state, predicted.state, predicted.tape}
                        : alone                   ? last_known(back, y, predicted.state)
                        : !plan_.correct          ? unmeasured(back, predicted.state)
                        : norms_.defined()        ? measured(back, predicted)
                                                  : settled(back, predicted);
    if (step.source != StateSource::found && !norms_.defined()) step.error = 0;
    spent_ += back.evaluations;
    step.evaluations = evaluations() - before;
    known_.leave(n);
    return result;
  }

  Tensor vjp(int64_t n, StepTape& tape, const Tensor& cotangent) {
    return recursion_.solver.vjp(recursion_.functions, n, tape, cotangent, recursion_.h);
  }

  /// Nobody reads the tensor any more.
  void recycle(const Tensor& tensor) {
    if (recycles_ && tensor.defined()) recursion_.functions.recycle(tensor);
  }

  int64_t evaluations() const { return spent_ + predictor_->evaluations() + known_.evaluations(); }

  /// Once the walk is over.
  PassFindings findings() { return {std::move(steps_), unit_, nullptr}; }

 private:
  StepFindings& at(int64_t n) { return steps_[static_cast<size_t>(n)]; }

  // The forward pass has stored its tape; its state too where that of the first tape is the last that is known.
  Back taped(int64_t n) {
    at(n).source = StateSource::kept;
    at(n).error = 0;
    const Tensor x = known_.has(n) ? known_.at(n) : Tensor();
    known_.leave(n);
    return {x, x, &tapes_[static_cast<size_t>(n - first_tape_)]};
  }

  // The prediction is the state.
  Back unmeasured(StepBack& back, const Tensor& predicted) {
    recursion_.solver.slope(recursion_.functions, back.n, predicted, recursion_.h, &tape_);
    back.evaluations += recursion_.solver.evaluations_per_step();
    return {predicted, predicted, &tape_};
  }

  // Nothing waits for the figures.
  Back measured(StepBack& back, const Prediction& predicted) {
    recursion_.functions.measure_into(norm_row(norms_, correction_row(back.n)));
    const Corrected found = back.correct(predicted.state);
    const bool known = predicted.source != StateSource::found;
    if (!known && samples_) {
      distance_measured(samples_->like(predicted.state), samples_->of(back.n), norm_row(norms_, sample_row(back.n)));
    }
    const Tensor& state = known ? predicted.state : found.state;
    predictor_->observe(recursion_, {back.n, known, back.y, state, found.slope, 0, 0});
    return {predicted.state, state, &tape_};
  }

  Back settled(StepBack& back, const Prediction& predicted) {
    if (predicted.source != StateSource::found) return exact(back, predicted.state);
    // Methods other than adaptive go on with what they have.
    const AdaptivePolicy policy = plan_.policy.value_or(AdaptivePolicy());
    const int64_t limit = plan_.policy ? known_.distance(back.n) : 0;
    const SettledStep step =
        settle(policy, estimate_, back, predicted.state, predicted.iterations, contraction_, limit);
    if (plan_.policy && !step.settled) {
      for (const Tensor& left : {step.found.slope, step.found.state}) recycle(left);
      if (step.predicted.get() != back.y.get()) recycle(step.predicted);
      return replayed(back);
    }
    contraction_ = step.contraction;
    StepFindings& found = at(back.n);
    found.error = step.error;
    found.suspected = false;
    const int64_t cost = predicted.iterations + back.evaluations / recursion_.solver.evaluations_per_step();
    found.dear = cost > AdaptivePolicy::kWorth;
    estimate_.carry(step.found.norms, step.contraction);
    observe(back, step.found.state, step.found, step.first_residual);
    return {step.predicted, step.found.state, &tape_};
  }

  // The step can't be found, or not before a replay has found it.
  Back replayed(StepBack& back) {
    for (int64_t m = back.n - known_.distance(back.n) + 1; m < back.n; ++m) at(m).suspected = true;
    at(back.n).dear = true;
    const Tensor x = known_.at(back.n);
    at(back.n).source = StateSource::replayed;
    return exact(back, x);
  }

  Back exact(StepBack& back, const Tensor& x) {
    Corrected found = back.correct(x);
    // The squares of a float32 state may be too large for the loops that add them up on their way.
    if (!is_finite(found.norms)) found.norms = distance(found.state, x);
    check_finite(back.n, found.norms);
    estimate_.know();
    observe(back, x, found, 0);
    recycle(found.state);
    return {x, x, &tape_};
  }

  // Nothing is left to be found: the tape at the known state is all that the step is for.
  Back last_known(StepBack& back, Tensor& y, const Tensor& x) {
    check_finite(back.n, distance(y, y));
    if (x.get() != y.get()) recycle(std::exchange(y, Tensor()));
    estimate_.know();
    return unmeasured(back, x);
  }

  void check_finite(int64_t n, const StepNorms& norms) const {
    if (is_finite(norms)) return;
    throw Error("stage of " + std::to_string(recursion_.steps) + " steps, step " + std::to_string(n) +
                ": its state or increment is not finite (NaN or infinity); check the input and the weights, or lower "
                "the learning rate");
  }

  void observe(const StepBack& back, const Tensor& state, const Corrected& found, double residual) {
    const bool known = at(back.n).source != StateSource::found;
    const double increment = std::sqrt(found.norms.reference);
    predictor_->observe(recursion_, {back.n, known, back.y, state, found.slope, residual, increment});
  }

  const WalkPlan& plan_;
  const Recursion& recursion_;
  Tensor norms_;
  KnownStates known_;
  std::vector<StepTape>& tapes_;
  int64_t first_tape_;
  std::unique_ptr<Predictor> predictor_;
  StepTape tape_;
  double unit_;
  ErrorEstimate estimate_;
  const std::optional<Samples>& samples_;
  bool recycles_;
  double contraction_ = 0;
  int64_t spent_ = 0;
  std::vector<StepFindings> steps_;
};

}  // namespace

WalkResult walk_back(const WalkPlan& plan, const Recursion& recursion, StoredStates& stored, const Choices& choices,
                     Tensor output, const Tensor& grad, const Tensor& norms) {
  Walk walk(plan, recursion, stored, choices, grad, norms);
  Tensor y = std::exchange(output, Tensor()), g = grad;
  for (int64_t n = recursion.steps; n-- > 0;) {
    const Back back = walk.step(n, y, g);
    // The product has no use for it.
    if (y.get() != back.state.get() && y.get() != back.predicted.get()) walk.recycle(std::exchange(y, Tensor()));
    const Tensor before = walk.vjp(n, *back.tape, g);
    if (recursion.functions.has_listener()) {
      for (const int64_t function : recursion.solver.last_products(n)) recursion.functions.end_products(function);
    }
    walk.recycle(g);
    if (back.state.get() != y.get()) walk.recycle(y);
    if (back.state.get() != back.predicted.get() && back.predicted.get() != y.get()) walk.recycle(back.predicted);
    g = before;
    y = back.state;
  }
  return {g, y, walk.findings(), walk.evaluations()};
}

}  // namespace resnet_nodes
