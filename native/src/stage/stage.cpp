// stage.cpp: the public class: checks its arguments, then delegates.
#include "resnet_nodes/stage.h"

#include <torch/csrc/stable/ops.h>

#include <chrono>
#include <mutex>
#include <utility>

#include "device/device_guard.h"
#include "device/graph_capture.h"
#include "functions/callback_functions.h"
#include "host/onednn.h"
#include "resnet_nodes/error.h"
#include "stage/context.h"
#include "stage/cost.h"
#include "stage/live_objects.h"
#include "stage/memory.h"
#include "tensors/describe.h"
#include "tensors/layout.h"
#include "tensors/norms.h"
#include "tensors/operators.h"

namespace resnet_nodes {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void check_state(const Tensor& x, bool must_be_floating) {
  if (!x.defined()) throw Error("x is undefined, expected a tensor [B, C, H, W] or [B, D]");
  if (x.dim() < 1 || x.numel() == 0)
    throw Error("x is " + shape_text(x) + ", expected [B, C, H, W] or [B, D], not empty");
  if (must_be_floating && !is_floating(x)) throw Error("x is " + dtype_text(x) + ", expected " + kFloatingTypes);
}

void check_recorded(const Tensor& x) {
  if (!can_record(x)) throw Error("cuda_graphs needs CUDA tensors, x is on " + device_text(x) + "; leave it off");
}

void check_same(const Tensor& grad, const Tensor& output) {
  if (!grad.defined()) throw Error("grad_output is undefined, expected " + shape_text(output));
  if (!same_sizes(grad, output)) {
    throw Error("grad_output is " + shape_text(grad) + ", expected " + shape_text(output) + " like the stage's output");
  }
  if (grad.scalar_type() != output.scalar_type()) {
    throw Error("grad_output is " + dtype_text(grad) + ", expected " + dtype_text(output) + " like the stage's output");
  }
  if (!same_device(grad, output)) {
    throw Error("grad_output is on " + device_text(grad) + ", expected " + device_text(output) +
                " like the stage's output");
  }
}

// A function that is no step: nothing can find its input.
void check_alone(const PassPlan& plan) {
  if (plan.steps != 1) throw Error("depth is " + std::to_string(plan.steps) + ", expected 1: a function alone");
  if (plan.walk.reconstructs()) {
    throw Error("reconstruction is " + find_plan(plan.options.reconstruction).name +
                ", expected checkpoint or backprop: the input of a function alone can't be found from its output");
  }
  if (plan.options.cuda_graphs) throw Error("cuda_graphs is for residual stages; leave it off");
  if (plan.options.stored_steps > 0) throw Error("stored_steps is for residual stages; backprop stores the tape");
}

// Whether the way back of a function alone reads its output: tanh's product does. A step's output is a sum of its own.
bool holds_output(const PassPlan& plan, const ForwardPass& pass) {
  return !plan.options.residual && !pass.stored.tapes.empty() && pass.stored.tapes.back().back()->holds(pass.output);
}

PassPlan plan_of(std::shared_ptr<const LayerTable> table, int64_t depth, const StageOptions& options) {
  require_right_convolutions();
  if (depth < 1) throw Error("depth is " + std::to_string(depth) + ", expected at least 1");
  check_options(options);
  PassPlan plan;
  plan.options = options;
  plan.table = std::move(table);
  plan.workspaces = shared_workspaces();
  plan.solver = &find_solver(options.solver);
  plan.steps = plan.solver->steps(depth);
  plan.walk = make_plan(options, plan.steps);
  if (options.stored_steps > plan.steps) {
    throw Error("stored_steps is " + std::to_string(options.stored_steps) + ", expected at most " +
                std::to_string(plan.steps) + ", the number of steps");
  }
  plan.first_tape = plan.walk.stores == Stores::tapes ? 0 : plan.steps - options.stored_steps;
  if (!options.residual) check_alone(plan);
  plan.h = options.step_size > 0 ? options.step_size : 1.0 / static_cast<double>(depth);
  return plan;
}

// The one pass at a time that may ask for sums over the ranks.
std::unique_lock<std::mutex> begun(const std::shared_ptr<NormSums>& ranks) {
  return ranks ? ranks->begin_pass() : std::unique_lock<std::mutex>();
}

// What a pass is called with: layers with their parameters, or external functions.
struct Functions {
  const std::vector<Tensor>& parameters;
  const std::vector<Tensor>& buffers;
  const std::vector<int32_t>& training;
  const CallbackTable* callbacks;  // null for layers
};

}  // namespace

struct Stage::Impl {
  LiveObject live;
  int64_t depth;
  const PassPlan plan;
  StageMemory memory;
  std::mutex ranks_mutex;
  std::shared_ptr<NormSums> ranks;

  Impl(std::shared_ptr<const LayerTable> table, int64_t depth_in, const StageOptions& options)
      : depth(depth_in), plan(plan_of(std::move(table), depth, options)), memory(plan) {}

  // The state as the stage works on it; what belongs to it is checked.
  Tensor prepare(const Tensor& x, const Functions& given) const {
    check_state(x, plan.options.residual || plan.table);
    if (memory.has_graphs()) check_recorded(x);
    if ((plan.table == nullptr) != (given.callbacks != nullptr)) {
      throw Error(plan.table
                      ? "functions are given, but the stage has native layers; pass parameters, buffers and modes"
                      : "parameters, buffers or modes are given, but the stage has external functions; pass those");
    }
    if (plan.table) {
      plan.table->check(x, given.parameters, given.buffers, given.training);
    } else {
      CallbackFunctions::check(*given.callbacks);
    }
    return laid_out(x);
  }

  // A callback's module works in the layout that its caller chose; native layers are fastest in their own.
  Tensor laid_out(const Tensor& x) const { return plan.table ? state_layout(x) : x; }

  // A result as its caller gets it; a copy only where its elements stand in another order.
  Tensor in_order(const Tensor& result, bool row_major) const {
    return row_major ? torch::stable::contiguous(result) : laid_out(result);
  }

  // Whether results are converted for the caller of x: a state that was row-major would be another to `view`.
  bool gives_row_major(const Tensor& x) const { return plan.table && !is_channels_last(x); }

  // What a backward pass is called with, and whether what it reads again is unchanged.
  void check_backward(const StageContext::Impl& context, const Tensor& grad_output, const std::vector<int32_t>& wanted,
                      const std::vector<Tensor>& accumulate_into) const {
    context.versions.check(plan);
    check_same(grad_output, context.output);
    const ForwardPass& left = context.graphed ? context.graphed->left() : context.pass;
    left.functions->check_gradients(wanted, accumulate_into);
  }

  // What a pass has to sum over; null where it needs no sums.
  std::shared_ptr<NormSums> ranks_for(const Tensor& x, const Functions& given) {
    std::unique_lock<std::mutex> lock(ranks_mutex);
    std::shared_ptr<NormSums> found = ranks;
    lock.unlock();
    if (!found || !plan.table->uses_batch(given.training)) return nullptr;
    if (!x.is_cpu()) {
      throw Error("x is on " + device_text(x) + ", expected the CPU: batch normalization is synchronized there alone");
    }
    return found;
  }

  // Bound for one pass.
  std::unique_ptr<ResidualFunctions> bind(const Functions& given, int64_t uses, std::shared_ptr<NormSums> sums) const {
    if (plan.table) {
      return bind_layers(plan, given.parameters, given.buffers, given.training, uses, std::move(sums));
    }
    return std::make_unique<CallbackFunctions>(*given.callbacks, plan.options.residual);
  }

  Tensor evaluate(const Tensor& x, const Functions& given);
  std::unique_ptr<StageContext> forward(const Tensor& x, const Functions& given);
};

Stage::Stage(const std::vector<FunctionSpec>& functions, int64_t depth, const StageOptions& options)
    : impl_(std::make_unique<Impl>(
          std::make_shared<LayerTable>(functions, depth, options.compute_type, options.residual), depth, options)) {}

Stage::Stage(int64_t depth, const StageOptions& options) : impl_(std::make_unique<Impl>(nullptr, depth, options)) {
  if (options.compute_type != ComputeType::same_as_state) {
    throw Error("compute_type is bfloat16, but external functions choose their own type; cast inside them");
  }
  if (options.cuda_graphs) {
    throw Error("cuda_graphs needs native layers: what external functions do can't be recorded; leave it off");
  }
}

Stage::~Stage() = default;

int64_t Stage::depth() const { return impl_->depth; }

int64_t Stage::parameter_count() const { return impl_->plan.table ? impl_->plan.table->parameter_count() : 0; }

int64_t Stage::buffer_count() const { return impl_->plan.table ? impl_->plan.table->buffer_count() : 0; }

int64_t Stage::norm_count() const { return impl_->plan.table ? impl_->plan.table->norm_count() : 0; }

std::string Stage::function_path(int64_t function, const Tensor& x) const {
  if (function < 0 || function >= impl_->depth) {
    throw Error("function is " + std::to_string(function) + ", expected 0 to " + std::to_string(impl_->depth - 1));
  }
  check_state(x, true);
  return impl_->plan.table ? impl_->plan.table->path(function, x) : "callbacks";
}

std::vector<PassCost> Stage::costs(const Tensor& x, const std::vector<StageOptions>& options) const {
  check_state(x, true);
  if (!impl_->plan.table) throw Error("costs: what external functions take is not known");
  std::vector<PassCost> found;
  const LayerTable& table = *impl_->plan.table;
  const Footprint function = largest_footprint(table, impl_->depth, x, impl_->plan.options.tape_bytes);
  for (StageOptions one : options) {
    one.residual = impl_->plan.options.residual;
    const PassPlan plan = plan_of(impl_->plan.table, impl_->depth, one);
    Choices choices = impl_->memory.choices();
    if (choices.empty()) choices.resize(static_cast<size_t>(plan.steps));
    found.push_back(cost_of(plan, choices, function));
  }
  return found;
}

Tensor Stage::Impl::evaluate(const Tensor& x, const Functions& given) {
  const NoGradient guard;
  const DeviceGuard device(x);
  const Tensor state = prepare(x, given);
  const std::shared_ptr<NormSums> sums = ranks_for(x, given);
  const std::unique_lock<std::mutex> alone = begun(sums);
  return in_order(run_steps(plan, *bind(given, 0, sums), state), gives_row_major(x));
}

std::unique_ptr<StageContext> Stage::Impl::forward(const Tensor& x, const Functions& given) {
  const Clock::time_point start = Clock::now();
  const NoGradient guard;
  const DeviceGuard device(x);
  auto context = std::make_unique<StageContext::Impl>();
  const Tensor state = prepare(x, given);
  context->steps = plan.steps;
  context->row_major = gives_row_major(x);
  context->versions.note_parameters(plan, given.parameters);
  ForwardPass& pass = context->pass;
  pass.ranks = ranks_for(x, given);
  const std::unique_lock<std::mutex> alone = begun(pass.ranks);
  pass.choices = memory.choices_for(state);
  context->graphed = memory.graphs_for(state, given.parameters, given.buffers, given.training, pass.choices);
  if (context->graphed) {
    context->output = in_order(context->graphed->forward(state), context->row_major);
  } else {
    if (same_memory(state, x) && plan.reads_input()) context->versions.note_input(x);
    pass.functions = bind(given, plan.evaluations(), pass.ranks);
    run_forward(plan, state, pass);
    context->output = in_order(pass.output, context->row_major);
    const bool reads_output = plan.reads_output() || holds_output(plan, pass);
    if (reads_output && same_memory(context->output, pass.output)) context->versions.note_output(context->output);
    if (!plan.reads_output()) pass.output = Tensor();
  }
  context->report.forward_seconds = seconds_since(start);
  return std::make_unique<StageContext>(std::move(context));
}

Tensor Stage::evaluate(const Tensor& x, const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers,
                       const std::vector<int32_t>& training) const {
  return impl_->evaluate(x, {parameters, buffers, training, nullptr});
}

Tensor Stage::evaluate(const Tensor& x, const CallbackTable& functions) const {
  return impl_->evaluate(x, {{}, {}, {}, &functions});
}

std::unique_ptr<StageContext> Stage::forward(const Tensor& x, const std::vector<Tensor>& parameters,
                                             const std::vector<Tensor>& buffers,
                                             const std::vector<int32_t>& training) const {
  return impl_->forward(x, {parameters, buffers, training, nullptr});
}

std::unique_ptr<StageContext> Stage::forward(const Tensor& x, const CallbackTable& functions) const {
  return impl_->forward(x, {{}, {}, {}, &functions});
}

bool Stage::can_synchronize() const { return impl_->plan.table != nullptr && !impl_->plan.options.cuda_graphs; }

void Stage::synchronize(const Communicator* ranks) const {
  std::shared_ptr<NormSums> sums = ranks != nullptr && ranks->size() > 1 ? ranks->norm_sums() : nullptr;
  if (sums && !impl_->plan.table) {
    throw Error("synchronize: external functions take their own batch statistics; it needs native layers");
  }
  if (sums && impl_->plan.options.cuda_graphs) {
    throw Error("synchronize: what ranks send one another can't be recorded; leave cuda_graphs off");
  }
  const std::lock_guard<std::mutex> lock(impl_->ranks_mutex);
  impl_->ranks = std::move(sums);
}

std::vector<double> Stage::learned() const { return impl_->memory.learned(); }

void Stage::restore_learned(const std::vector<double>& learned) const { impl_->memory.restore(learned); }

void Stage::backward(StageContext& public_context, const Tensor& grad_output, const std::vector<int32_t>& wanted,
                     const std::vector<Tensor>& accumulate_into, bool input_wanted,
                     const GradientListener& listener) const {
  const Clock::time_point start = Clock::now();
  const NoGradient guard;
  StageContext::Impl& context = public_context.impl();
  if (context.used.exchange(true)) {
    throw Error("context: a second backward pass through the same forward pass; run the forward pass again");
  }
  std::unique_lock<std::mutex> alone;
  try {
    impl_->check_backward(context, grad_output, wanted, accumulate_into);
    if (listener.ready != nullptr && !impl_->plan.table) {
      throw Error("listener is given, but external functions keep the gradients of their parameters");
    }
    alone = begun(context.pass.ranks);
  } catch (...) {
    context.used = false;
    throw;
  }
  const DeviceGuard device(grad_output);
  // Taken out, so that they are free as the walk goes on, and gone if it fails.
  ForwardPass pass = std::move(context.pass);
  const std::shared_ptr<GraphedPass> graphed = std::move(context.graphed);
  context.versions = Versions();
  {
    const std::lock_guard<std::mutex> lock(context.mutex);
    context.output = Tensor();
  }
  const Tensor grad = impl_->laid_out(grad_output);
  Choices choices = std::move(pass.choices);
  BackwardPass back;
  if (graphed) {
    back = graphed->backward(grad, wanted, accumulate_into, choices);
    if (listener.ready != nullptr) tell(listener, 0, parameter_count());
  } else {
    pass.functions->want_gradients(wanted, accumulate_into, input_wanted);
    pass.functions->tell(listener);
    back = run_backward(impl_->plan, pass, grad, choices);
  }
  const Tensor input = graphed ? graphed->left().input : pass.input;
  StageReport report;
  report.evaluations = back.walk.evaluations;
  if (back.walk.state.defined()) {
    const StepNorms off = distance(back.walk.state, input);
    report.reconstruction_error = input_error(off.difference, off.reference);
  } else if (input.defined() && !back.norms.defined()) {
    report.reconstruction_error = 0;  // backprop reconstructs nothing
  }
  PassFindings& found = back.walk.found;
  if (back.norms.defined()) found.norms = std::make_shared<const Readback>(back.norms);
  impl_->memory.learn(std::move(choices), found);
  const Tensor input_gradient =
      back.walk.grad.defined() ? impl_->in_order(back.walk.grad, context.row_major) : Tensor();
  const std::lock_guard<std::mutex> lock(context.mutex);
  context.corrects = impl_->plan.walk.correct;
  context.has_input_error = input.defined() && found.norms != nullptr;
  context.found = std::move(found);
  context.input_gradient = input_gradient;
  context.parameter_gradients = std::move(back.gradients);
  report.forward_seconds = context.report.forward_seconds;
  context.report = std::move(report);
  if (context.found.norms == nullptr) context.complete_report({});
  context.report.backward_seconds = seconds_since(start);
  context.done = true;
}

}  // namespace resnet_nodes
