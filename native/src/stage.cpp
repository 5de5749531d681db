// stage.cpp: the public class: checks what comes in, then hands over to solver and reconstruction.
#include "resnet_nodes/stage.h"

#include <chrono>
#include <cmath>
#include <utility>

#include "callback_function.h"
#include "device_guard.h"
#include "graphed_pass.h"
#include "live_objects.h"
#include "operators.h"
#include "pass.h"
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
  int64_t steps = 0;
  Tensor output;
  ForwardPass pass;                      // empty where
  std::shared_ptr<GraphedPass> graphed;  // it is this one's
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
  PassPlan plan;
  std::unique_ptr<DelayedAdaptive> delayed;  // of adaptive
  std::unique_ptr<GraphedPasses> graphs;     // of cuda_graphs

  Impl(std::shared_ptr<const LayerTable> table, int64_t depth_in, const StageOptions& options) : depth(depth_in) {
    if (depth < 1) throw Error("depth is " + std::to_string(depth) + ", expected at least 1");
    check_options(options);
    plan.options = options;
    plan.table = std::move(table);
    plan.solver = &solver_method(options.solver);
    plan.steps = plan.solver->steps(depth);
    plan.h = options.step_size > 0 ? options.step_size : 1.0 / static_cast<double>(depth);
    if (options.reconstruction == ReconstructionKind::adaptive) {
      const WalkPlan walk = make_plan(options);
      delayed = std::make_unique<DelayedAdaptive>(plan.steps, DelayedLimits{walk.tolerance, walk.iterations});
    }
    if (options.cuda_graphs) graphs = std::make_unique<GraphedPasses>(plan);
  }

  void check(const Tensor& x, const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers) const {
    if (plan.table) {
      plan.table->check(x, parameters, buffers);
    } else if (!parameters.empty() || !buffers.empty()) {
      throw Error("parameters and buffers stay outside with callbacks");
    }
  }

  // Parameters bound for one pass.
  ForwardPass bind(const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers, bool training,
                   int64_t uses) const {
    if (plan.table) return bind_layers(plan, parameters, buffers, training, uses);
    ForwardPass pass;
    pass.functions = std::make_unique<CallbackFunctions>(callbacks);
    return pass;
  }

  Tensor prepare(const Tensor& x) const {
    check_state(x);
    if (graphs) check_graphs(x);
    // A callback's module works in the layout that its caller chose; native layers are fastest in their own.
    return plan.table ? state_layout(x) : x;
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
    : impl_(std::make_unique<Impl>(std::make_shared<LayerTable>(functions, depth, options.compute_type), depth,
                                   options)) {}

Stage::Stage(const CallbackTable& callbacks, int64_t depth, const StageOptions& options)
    : impl_(std::make_unique<Impl>(nullptr, depth, options)) {
  CallbackFunctions::check(callbacks);
  if (options.compute_type != ComputeType::same_as_state) {
    throw Error("compute_type is bfloat16, but functions of the outside choose their own type; cast inside of them");
  }
  if (options.cuda_graphs) {
    throw Error("cuda_graphs needs native layers: what functions of the outside do can't be recorded; leave it off");
  }
  impl_->callbacks = callbacks;
}

Stage::~Stage() = default;

int64_t Stage::depth() const { return impl_->depth; }

int64_t Stage::parameter_count() const { return impl_->plan.table ? impl_->plan.table->parameter_count() : 0; }

int64_t Stage::buffer_count() const { return impl_->plan.table ? impl_->plan.table->buffer_count() : 0; }

std::string Stage::function_path(int64_t function, const Tensor& x) const {
  if (function < 0 || function >= impl_->depth) {
    throw Error("function is " + std::to_string(function) + ", expected 0 to " + std::to_string(impl_->depth - 1));
  }
  check_state(x);
  return impl_->plan.table ? impl_->plan.table->path(function, x) : "callbacks";
}

Tensor Stage::evaluate(const Tensor& x, const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers,
                       bool training) const {
  const NoGradient guard;
  const DeviceGuard device(x);
  Tensor state = impl_->prepare(x);
  impl_->check(state, parameters, buffers);
  const auto functions = impl_->bind(parameters, buffers, training, 0).functions;
  for (int64_t n = 0; n < impl_->plan.steps; ++n) {
    const Tensor before = state;
    state = impl_->plan.solver->step(*functions, n, before, impl_->plan.h, nullptr);
    functions->recycle(before);
  }
  return state;
}

std::unique_ptr<StageContext> Stage::forward(const Tensor& x, const std::vector<Tensor>& parameters,
                                             const std::vector<Tensor>& buffers, bool training) const {
  const Clock::time_point start = Clock::now();
  const NoGradient guard;
  const DeviceGuard device(x);
  const PassPlan& plan = impl_->plan;
  auto context = std::make_unique<StageContext::Impl>();
  const Tensor state = impl_->prepare(x);
  impl_->check(state, parameters, buffers);
  context->steps = plan.steps;
  if (impl_->graphs) context->graphed = impl_->graphs->take(state, parameters, buffers, training);
  if (context->graphed) {
    context->output = context->graphed->forward(state);
  } else {
    context->pass = impl_->bind(parameters, buffers, training, plan.steps * plan.solver->evaluations_per_step());
    run_forward(plan, state, context->pass);
    context->output = context->pass.output;
  }
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
  const LayerFunctions* layers = context.graphed ? context.graphed->left().layers : context.pass.layers;
  if (layers != nullptr) layers->check_gradients(wanted, accumulate_into);
  context.used = true;
  // Taken out, so that they are free as the walk goes on, and gone if it fails.
  ForwardPass pass = std::move(context.pass);
  const std::shared_ptr<GraphedPass> graphed = std::move(context.graphed);
  context.output = Tensor();
  const Tensor grad = impl_->plan.table ? state_layout(grad_output) : grad_output;
  std::vector<StepChoice> choices;
  if (impl_->delayed && delays(grad)) choices = impl_->delayed->begin();
  BackwardPass back;
  if (graphed) {
    back = graphed->backward(grad, wanted, accumulate_into, choices);
  } else {
    if (pass.layers != nullptr) pass.layers->want_gradients(wanted, accumulate_into);
    back = run_backward(impl_->plan, pass, grad, choices);
  }
  const Tensor input = graphed ? graphed->left().input : pass.input;
  const WalkPlan walk = make_plan(impl_->plan.options);
  context.tolerance = walk.tolerance;
  context.corrects = walk.correct;
  context.has_input_error = input.defined() && back.norms.defined();
  if (back.walk.state.defined()) {
    const StepNorms off = distance(back.walk.state, input);
    back.walk.report.reconstruction_error = StageContext::Impl::relative_error(off.difference, off.reference);
  } else if (input.defined() && !back.norms.defined()) {
    back.walk.report.reconstruction_error = 0;  // backprop reconstructs nothing
  }
  if (back.norms.defined()) {
    context.found = std::make_shared<const Readback>(back.norms);
    context.unit = rounding_unit(grad);
    if (impl_->delayed) impl_->delayed->end(std::move(choices), context.found, context.unit);
  }
  context.input_gradient = back.walk.grad;
  context.parameter_gradients = std::move(back.gradients);
  back.walk.report.forward_seconds = context.report.forward_seconds;
  context.report = std::move(back.walk.report);
  context.report.backward_seconds = seconds_since(start);
  context.done = true;
}

}  // namespace resnet_nodes
