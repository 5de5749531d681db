#include "reconstruction.h"

#include <cmath>
#include <limits>

#include "delayed.h"
#include "operators.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

constexpr int64_t kAdaptiveIterations = 6;

std::string number(double value) {
  std::string text = std::to_string(value);
  return text;
}

double relative(const StepNorms& norms) {
  if (norms.difference == 0) return 0;
  return norms.reference > 0 ? std::sqrt(norms.difference / norms.reference) : std::numeric_limits<double>::infinity();
}

// A state of this dtype can't be found any better: what is left is rounding, as where an increment is nearly 0.
bool is_rounding(const StepNorms& norms, const Tensor& y) {
  const double state = std::sqrt(distance(y, y).reference);
  return std::sqrt(norms.difference) <= 4 * rounding_unit(y) * state;
}

}  // namespace

double rounding_unit(const Tensor& x) {
  using torch::headeronly::ScalarType;
  switch (x.scalar_type()) {
    case ScalarType::Double:
      return std::numeric_limits<double>::epsilon();
    case ScalarType::Float:
      return std::numeric_limits<float>::epsilon();
    case ScalarType::BFloat16:
      return 1.0 / 128;
    default:
      return 1.0 / 1024;
  }
}

std::vector<ReconstructionPlan> reconstruction_plans() {
  using Kind = ReconstructionKind;
  return {
      {Kind::backprop, "backprop", 1, 0, 3, false},
      {Kind::checkpoint, "checkpoint", 0, 0, 4, false},
      {Kind::inverse, "inverse", 1, 1, 5, true},
      {Kind::corrected, "corrected", 1, 2, 5, true},
      {Kind::extrapolated, "extrapolated", 2, 3, 4, true},
      {Kind::adaptive, "adaptive", kAdaptiveIterations, 2, 5, true},
  };
}

void check_options(const StageOptions& options) {
  if (options.count < 0) throw Error("count is " + std::to_string(options.count) + ", expected 0 (default) or more");
  if (!std::isfinite(options.step_size) || options.step_size < 0) {
    throw Error("step_size is " + number(options.step_size) + ", expected a positive number, or 0 for 1/N");
  }
  if (!(options.tolerance > 0) || !std::isfinite(options.tolerance)) {
    throw Error("tolerance is " + number(options.tolerance) + ", expected a positive number");
  }
  if (options.reconstruction == ReconstructionKind::extrapolated && options.count != 0 && options.count != 2 &&
      options.count != 3) {
    throw Error("count is " + std::to_string(options.count) + ", expected order 2 or 3 for extrapolated");
  }
  if (options.reconstruction == ReconstructionKind::inverse && options.count > 1) {
    throw Error("count is " + std::to_string(options.count) +
                ", but inverse takes no iterations; corrected:" + std::to_string(options.count) + " does");
  }
}

WalkPlan make_plan(const StageOptions& options) {
  const auto count = [&](int64_t otherwise) { return options.count > 0 ? options.count : otherwise; };
  switch (options.reconstruction) {
    case ReconstructionKind::backprop:
    case ReconstructionKind::checkpoint:
      return {};
    case ReconstructionKind::inverse:
      return {undo_predictor(), false, 0, 0, Tensor()};
    case ReconstructionKind::corrected:
      return {fixed_point_predictor(count(1)), true, 0, 0, Tensor()};
    case ReconstructionKind::extrapolated:
      return {extrapolation_predictor(count(2), false), true, 0, 0, Tensor()};
    case ReconstructionKind::adaptive:
      return {extrapolation_predictor(2, true), true, options.tolerance, count(kAdaptiveIterations), Tensor()};
  }
  throw Error("reconstruction " + std::to_string(static_cast<int>(options.reconstruction)) + " is unknown");
}

WalkResult walk_back(WalkPlan plan, const Recursion& recursion, const Tensor& output, const Tensor& grad) {
  const SolverMethod& solver = recursion.solver;
  ResidualFunctions& functions = recursion.functions;
  const double h = recursion.h;
  const bool keep_slope = plan.predictor->keeps_slopes();
  StepTape tape = solver.make_tape(functions);
  WalkResult result;
  StageReport& report = result.report;
  const bool decides = plan.correct && !plan.norms.defined();
  report.residuals.assign(decides ? static_cast<size_t>(recursion.steps) : 0, 0.0);
  Tensor y = output;
  Tensor g = grad;
  for (int64_t n = recursion.steps; n-- > 0;) {
    Tensor predicted = plan.predictor->predict(recursion, n, y);
    report.evaluations += solver.evaluations_per_step();
    Tensor state = predicted;
    if (plan.norms.defined()) {
      functions.measure_into(norm_row(plan.norms, correction_row(n)));
      const Corrected found = solver.correct(functions, n, y, predicted, h, keep_slope, g, tape);
      plan.predictor->observe(recursion, {y, found.state, found.slope, 0, 0});
      if (!plan.predictor->keeps_state(n)) state = found.state;
    } else if (plan.correct) {
      Corrected found = solver.correct(functions, n, y, predicted, h, keep_slope, g, tape);
      const double first = relative(found.norms);
      double residual = first;
      bool settled = plan.tolerance <= 0 || residual <= plan.tolerance;
      for (int64_t k = 0; !settled && k < plan.iterations && !is_rounding(found.norms, y); ++k) {
        const Tensor before = predicted;
        const double distance_before = found.norms.difference;
        functions.recycle(found.slope);
        predicted = found.state;
        found = solver.correct(functions, n, y, predicted, h, keep_slope, g, tape);
        report.evaluations += solver.evaluations_per_step();
        residual = relative(found.norms);
        settled = residual <= plan.tolerance;
        if (settled || found.norms.difference < distance_before) {
          if (before.get() != y.get()) functions.recycle(before);
          continue;
        }
        // The fixed point repels, h Lip(Phi) >= 1: each iteration and the corrected update itself lead away. (The
        // residual doesn't say so: where states grow, increments grow along.) The state before is the best that can be
        // had, or y, where that one is off by more than it has moved from y.
        const bool moved_too_far = distance(before, y).difference < distance_before;
        predicted = moved_too_far ? y : before;
        found = solver.correct(functions, n, y, predicted, h, keep_slope, g, tape);
        report.evaluations += solver.evaluations_per_step();
        residual = relative(found.norms);
        found.state = predicted;
        break;
      }
      report.residuals[static_cast<size_t>(n)] = residual;
      if (!settled && !is_rounding(found.norms, y)) report.failed_steps.insert(report.failed_steps.begin(), n);
      plan.predictor->observe(recursion, {y, found.state, found.slope, first, std::sqrt(found.norms.reference)});
      state = found.state;
    } else {
      solver.slope(functions, n, predicted, h, &tape);
    }
    const Tensor before = solver.vjp(functions, n, tape, g, h);
    functions.recycle(g);
    if (state.get() != y.get()) functions.recycle(y);
    if (state.get() != predicted.get() && predicted.get() != y.get()) functions.recycle(predicted);
    g = before;
    y = state;
  }
  report.evaluations += plan.predictor->evaluations();
  result.grad = g;
  result.state = y;
  return result;
}

}  // namespace resnet_nodes
