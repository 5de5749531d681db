// stage.cpp: the public class: checks what comes in, then hands over to solver and reconstruction.
#include "resnet_nodes/stage.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "callback_function.h"
#include "delayed.h"
#include "device_guard.h"
#include "layer_function.h"
#include "live_objects.h"
#include "operators.h"
#include "reconstruction.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void check_state(const Tensor& x) {
  using torch::headeronly::ScalarType;
  if (!x.defined()) throw Error("x is undefined, expected a tensor [B, C, H, W] or [B, D]");
  if (x.dim() < 1 || x.numel() == 0)
    throw Error("x is " + shape_text(x) + ", expected [B, C, H, W] or [B, D], not empty");
  const ScalarType type = x.scalar_type();
  if (type != ScalarType::Float && type != ScalarType::Double && type != ScalarType::BFloat16 &&
      type != ScalarType::Half) {
    throw Error("x is " + dtype_text(x) + ", expected float32, float64, bfloat16 or float16");
  }
}

[[noreturn]] void refuse_graphs(const Tensor& x) {
  if (!x.is_cuda()) throw Error("cuda_graphs needs CUDA tensors, x is on " + device_text(x));
  throw Error(
      "cuda_graphs can't be had: LibTorch's stable ABI has no memory pool for a capture, so that a graph's memory "
      "could "
      "go to others; leave it off");
}

void check_same(const Tensor& grad, const Tensor& output) {
  if (!grad.defined()) throw Error("grad_output is undefined, expected " + shape_text(output));
  if (shape_text(grad) != shape_text(output)) {
    throw Error("grad_output is " + shape_text(grad) + ", expected " + shape_text(output) + " like the stage's output");
  }
  if (grad.scalar_type() != output.scalar_type()) {
    throw Error("grad_output is " + dtype_text(grad) + ", expected " + dtype_text(output) + " like the stage's output");
  }
  if (device_text(grad) != device_text(output)) {
    throw Error("grad_output is on " + device_text(grad) + ", expected " + device_text(output) +
                " like the stage's output");
  }
}

}  // namespace

struct StageContext::Impl {
  LiveObject live;
  const SolverMethod* solver = nullptr;
  double h = 0;
  int64_t steps = 0;
  std::unique_ptr<ResidualFunctions> functions;
  LayerFunctions* layers = nullptr;  // the same object, where it is made of layers
  Tensor output;
  Tensor input;  // where it was asked for
  StoredStates stored;
  bool used = false;
  bool done = false;
  Tensor input_gradient;
  std::vector<Tensor> parameter_gradients;
  StageReport report;
  // Where norms have stayed on the device: what completes the report when it is asked for.
  std::shared_ptr<const Readback> found;
  double unit = 0;
  double tolerance = 0;
  bool corrects = false;
  bool has_input_error = false;

  void complete_report() {
    if (found == nullptr) return;
    const std::vector<double> norms = found->values();
    const auto row = [&](int64_t index) { return norms.data() + index * kMeasuredNorms; };
    report.residuals.clear();
    for (int64_t n = 0; corrects && n < steps; ++n) {
      const MeasuredStep step{row(correction_row(n)), row(foresight_row(n))};
      report.residuals.push_back(residual_of(step));
      if (tolerance > 0 && report.residuals.back() > tolerance && !is_rounding(step, unit)) {
        report.failed_steps.push_back(n);
      }
    }
    const double* input_norms = row(input_row(steps));
    if (has_input_error)
      report.reconstruction_error = relative_error(input_norms[kDifference], input_norms[kReference]);
    found.reset();
  }

  static double relative_error(double difference, double reference) {
    return reference > 0 ? std::sqrt(difference / reference) : 0;
  }

  void require_done() const {
    if (!done) throw Error("context: no backward pass has run, so there are no results to read");
  }
};

struct Stage::Impl {
  LiveObject live;
  std::shared_ptr<const LayerTable> table;  // null with callbacks
  CallbackTable callbacks;
  int64_t depth = 0;
  int64_t steps = 0;
  double h = 0;
  StageOptions options;
  const SolverMethod* solver = nullptr;
  std::unique_ptr<DelayedAdaptive> delayed;  // of adaptive

  Impl(int64_t depth_in, const StageOptions& options_in) : depth(depth_in), options(options_in) {
    if (depth < 1) throw Error("depth is " + std::to_string(depth) + ", expected at least 1");
    check_options(options);
    const WalkPlan plan = make_plan(options);
    solver = &solver_method(options.solver);
    steps = solver->steps(depth);
    h = options.step_size > 0 ? options.step_size : 1.0 / static_cast<double>(depth);
    if (options.reconstruction == ReconstructionKind::adaptive) {
      delayed = std::make_unique<DelayedAdaptive>(steps, DelayedLimits{plan.tolerance, plan.iterations});
    }
  }

  // Binds parameters for one pass; null `layers` with callbacks.
  std::unique_ptr<ResidualFunctions> bind(const Tensor& x, const std::vector<Tensor>& parameters,
                                          const std::vector<Tensor>& buffers, bool training, int64_t uses,
                                          LayerFunctions** layers) const {
    if (!table) {
      if (!parameters.empty() || !buffers.empty()) throw Error("parameters and buffers stay outside with callbacks");
      return std::make_unique<CallbackFunctions>(callbacks);
    }
    table->check(x, parameters, buffers);
    auto functions = std::make_unique<LayerFunctions>(table, parameters, buffers, training, uses);
    if (layers != nullptr) *layers = functions.get();
    return functions;
  }

  Tensor prepare(const Tensor& x) const {
    check_state(x);
    if (options.cuda_graphs) refuse_graphs(x);
    // A callback's module works in the layout that its caller chose; native layers are fastest in their own.
    return table ? state_layout(x) : x;
  }

  int64_t checkpoint_distance() const {
    if (options.count > 0) return options.count;
    return std::max<int64_t>(1, static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(steps)))));
  }
};

StageContext::StageContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StageContext::~StageContext() = default;

Tensor StageContext::output() const { return impl_->output; }

Tensor StageContext::input_gradient() const {
  impl_->require_done();
  return impl_->input_gradient;
}

std::vector<Tensor> StageContext::parameter_gradients() const {
  impl_->require_done();
  return impl_->parameter_gradients;
}

StageReport StageContext::report() const {
  impl_->require_done();
  impl_->complete_report();
  return impl_->report;
}

bool StageContext::report_is_ready() const {
  impl_->require_done();
  return impl_->found == nullptr || impl_->found->arrived();
}

void StageContext::keep_report_alone() {
  impl_->require_done();
  impl_->input_gradient = Tensor();
  impl_->parameter_gradients.clear();
}

Stage::Stage(const std::vector<FunctionSpec>& functions, int64_t depth, const StageOptions& options)
    : impl_(std::make_unique<Impl>(depth, options)) {
  impl_->table = std::make_shared<LayerTable>(functions, depth, options.compute_type);
}

Stage::Stage(const CallbackTable& callbacks, int64_t depth, const StageOptions& options)
    : impl_(std::make_unique<Impl>(depth, options)) {
  CallbackFunctions::check(callbacks);
  if (options.compute_type != ComputeType::same_as_state) {
    throw Error("compute_type is bfloat16, but functions of the outside choose their own type; cast inside of them");
  }
  impl_->callbacks = callbacks;
}

Stage::~Stage() = default;

int64_t Stage::depth() const { return impl_->depth; }

int64_t Stage::parameter_count() const { return impl_->table ? impl_->table->parameter_count() : 0; }

int64_t Stage::buffer_count() const { return impl_->table ? impl_->table->buffer_count() : 0; }

std::string Stage::function_path(int64_t function, const Tensor& x) const {
  if (function < 0 || function >= impl_->depth) {
    throw Error("function is " + std::to_string(function) + ", expected 0 to " + std::to_string(impl_->depth - 1));
  }
  check_state(x);
  return impl_->table ? impl_->table->path(function, x) : "callbacks";
}

Tensor Stage::evaluate(const Tensor& x, const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers,
                       bool training) const {
  const NoGradient guard;
  const DeviceGuard device(x);
  Tensor state = impl_->prepare(x);
  const auto functions = impl_->bind(state, parameters, buffers, training, 0, nullptr);
  for (int64_t n = 0; n < impl_->steps; ++n) {
    const Tensor before = state;
    state = impl_->solver->step(*functions, n, before, impl_->h, nullptr);
    functions->recycle(before);
  }
  return state;
}

std::unique_ptr<StageContext> Stage::forward(const Tensor& x, const std::vector<Tensor>& parameters,
                                             const std::vector<Tensor>& buffers, bool training) const {
  const Clock::time_point start = Clock::now();
  const NoGradient guard;
  const DeviceGuard device(x);
  auto context = std::make_unique<StageContext::Impl>();
  Tensor state = impl_->prepare(x);
  context->functions = impl_->bind(state, parameters, buffers, training,
                                   impl_->steps * impl_->solver->evaluations_per_step(), &context->layers);
  context->solver = impl_->solver;
  context->h = impl_->h;
  context->steps = impl_->steps;
  if (impl_->options.keep_input) context->input = state;
  const bool tapes = impl_->options.reconstruction == ReconstructionKind::backprop;
  const bool states = impl_->options.reconstruction == ReconstructionKind::checkpoint;
  context->stored.every = states ? impl_->checkpoint_distance() : 1;
  for (int64_t n = 0; n < impl_->steps; ++n) {
    StepTape* tape = nullptr;
    if (tapes) tape = &context->stored.tapes.emplace_back(impl_->solver->make_tape(*context->functions));
    if (states && n % context->stored.every == 0) context->stored.states.push_back(state);
    const Tensor before = state;
    state = impl_->solver->step(*context->functions, n, before, impl_->h, tape);
    if (!tapes && !states) context->functions->recycle(before);
  }
  context->output = state;
  context->report.forward_seconds = seconds_since(start);
  return std::make_unique<StageContext>(std::move(context));
}

void Stage::backward(StageContext& public_context, const Tensor& grad_output, const std::vector<int32_t>& wanted,
                     const std::vector<Tensor>& accumulate_into) const {
  const Clock::time_point start = Clock::now();
  const NoGradient guard;
  StageContext::Impl& context = public_context.impl();
  if (context.used) {
    throw Error("context: a second backward pass through the same forward pass; run the forward pass again");
  }
  check_same(grad_output, context.output);
  const DeviceGuard device(grad_output);
  if (context.layers != nullptr) context.layers->want_gradients(wanted, accumulate_into);
  context.used = true;
  const Recursion recursion{*context.solver, *context.functions, context.steps, context.h};
  const Tensor grad = impl_->table ? state_layout(grad_output) : grad_output;
  WalkPlan plan = make_plan(impl_->options);
  std::vector<StepChoice> choices;
  const bool measures = delays(grad) && (plan.correct || context.input.defined()) && plan.predictor != nullptr;
  const Tensor norms = measures ? new_norms(grad, row_count(context.steps)) : Tensor();
  if (measures && plan.correct) plan.norms = norms;
  if (measures && impl_->delayed) {
    choices = impl_->delayed->begin();
    plan.predictor = delayed_predictor(choices, norms);
  }
  // Taken out, so that they are free as the walk goes on, and gone if it fails.
  StoredStates stored = std::move(context.stored);
  const Tensor output = std::exchange(context.output, Tensor());
  context.tolerance = plan.tolerance;
  context.corrects = plan.correct;
  const bool reconstructs = plan.predictor != nullptr;
  WalkResult result =
      reconstructs ? walk_back(std::move(plan), recursion, output, grad) : walk_back_stored(stored, recursion, grad);
  if (context.input.defined() && result.state.defined() && measures) {
    distance_measured(result.state, context.input, norm_row(norms, input_row(context.steps)));
    context.has_input_error = true;
  } else if (context.input.defined() && result.state.defined()) {
    const StepNorms off = distance(result.state, context.input);
    result.report.reconstruction_error = StageContext::Impl::relative_error(off.difference, off.reference);
  } else if (context.input.defined()) {
    result.report.reconstruction_error = 0;  // backprop reconstructs nothing
  }
  if (measures) {
    context.found = std::make_shared<const Readback>(norms);
    context.unit = rounding_unit(grad);
    if (impl_->delayed) impl_->delayed->end(std::move(choices), context.found, context.unit);
  }
  context.input = Tensor();
  context.input_gradient = result.grad;
  if (context.layers != nullptr) context.parameter_gradients = context.layers->take_gradients();
  context.layers = nullptr;
  context.functions.reset();
  const double forward_seconds = context.report.forward_seconds;
  context.report = std::move(result.report);
  context.report.forward_seconds = forward_seconds;
  context.report.backward_seconds = seconds_since(start);
  context.done = true;
}

}  // namespace resnet_nodes
