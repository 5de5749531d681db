#include "functions/layer_functions.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <shared_mutex>
#include <utility>

#include "resnet_nodes/error.h"
#include "tensors/describe.h"
#include "tensors/layout.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

uint64_t next_pass() {
  static std::atomic<uint64_t> count{0};
  return ++count;
}

}  // namespace

LayerFunctions::LayerFunctions(std::shared_ptr<const LayerTable> table, std::shared_ptr<Workspaces> workspaces,
                               std::vector<Tensor> parameters, std::vector<Tensor> buffers,
                               std::vector<int32_t> training, int64_t uses, int64_t tape_bytes,
                               std::shared_ptr<NormSums> ranks)
    : table_(std::move(table)),
      workspaces_(std::move(workspaces)),
      parameters_(std::move(parameters)),
      buffers_(std::move(buffers)),
      training_(std::move(training)),
      tape_bytes_(tape_bytes),
      ranks_(std::move(ranks)),
      pass_(next_pass()) {
  statistics_.resize(static_cast<size_t>(uses));
  if (uses > 0) keep_frozen_statistics();
}

// The way back reads them again, and batch normalization changes them without a new version: copies, 2C numbers each.
void LayerFunctions::keep_frozen_statistics() {
  for (size_t norm = 0; norm < training_.size(); ++norm) {
    const int64_t first = table_->norm_buffers()[norm];
    if (training_[norm] != 0 || first < 0) continue;
    const std::shared_lock<std::shared_mutex> lock(table_->norm_lock(static_cast<int64_t>(norm)));
    for (size_t i : {static_cast<size_t>(first), static_cast<size_t>(first) + 1}) {
      buffers_[i] = torch::stable::clone(buffers_[i]);
    }
  }
}

std::unique_ptr<Tape> LayerFunctions::make_tape() { return std::make_unique<LayerTape>(); }

LayerCall LayerFunctions::call_for(Use use, const LayerTable::Row& row) {
  LayerCall call = wide_call(use, row);
  if (table_->is_mixed() && row.layer->parameters_follow_input()) {
    const int64_t first = table_->function(use.function).first_parameter();
    call.parameters = narrow_parameters(use.function).data() + (row.first_parameter - first);
  }
  return call;
}

LayerCall LayerFunctions::wide_call(Use use, const LayerTable::Row& row) {
  LayerCall call;
  call.parameters = parameters_.data() + row.first_parameter;
  call.buffers = buffers_.data() + row.first_buffer;
  if (row.statistics >= 0 && !statistics_.empty()) {
    std::vector<Statistics>& of_use = statistics_[static_cast<size_t>(use.index)];
    if (of_use.empty()) of_use.resize(static_cast<size_t>(table_->function(use.function).statistics_count));
    call.statistics = &of_use[static_cast<size_t>(row.statistics)];
  }
  if (row.norm >= 0) {
    call.training = training_[static_cast<size_t>(row.norm)] != 0;
    call.lock = &table_->norm_lock(row.norm);
    call.ranks = ranks_.get();
  }
  return call;
}

Tensor LayerFunctions::narrowed(const Tensor& tensor) const {
  return table_->is_mixed() ? torch::stable::to(tensor, ScalarType::BFloat16) : tensor;
}

Tensor LayerFunctions::widened(const Tensor& tensor, const Tensor& state) const {
  return table_->is_mixed() ? torch::stable::to(tensor, state.scalar_type()) : tensor;
}

// Made once for all evaluations of a function that follow one another.
const std::vector<Tensor>& LayerFunctions::narrow_parameters(int64_t function) {
  const int64_t key = table_->row_of(function);
  if (narrow_[0].function != key) std::swap(narrow_[0], narrow_[1]);
  if (narrow_[0].function == key) return narrow_[0].tensors;
  narrow_[0] = {key, {}};
  for (const LayerTable::Row& row : table_->function(function).rows) {
    for (int64_t i = 0; i < row.layer->parameter_count(); ++i) {
      const bool follows = row.layer->parameters_follow_input();
      narrow_[0].tensors.push_back(follows ? narrowed(parameters_[static_cast<size_t>(row.first_parameter + i)])
                                           : Tensor());
    }
  }
  return narrow_[0].tensors;
}

bool LayerTape::holds(const Tensor& result) const {
  return std::any_of(outputs.begin(), outputs.end(),
                     [&](const Tensor& tensor) { return tensor.defined() && same_memory(tensor, result); });
}

void LayerFunctions::check_gradients(const std::vector<int32_t>& wanted,
                                     const std::vector<Tensor>& accumulate_into) const {
  const size_t count = parameters_.size();
  if (wanted.size() != count) {
    throw Error("wanted has " + std::to_string(wanted.size()) + " entries, expected " + std::to_string(count) +
                ", one a parameter");
  }
  if (!accumulate_into.empty()) check_length(accumulate_into, static_cast<int64_t>(count), "accumulate_into");
  for (size_t i = 0; i < accumulate_into.size(); ++i) {
    const Tensor &given = accumulate_into[i], &parameter = parameters_[i];
    if (!given.defined()) continue;
    const auto fail = [&](const std::string& what, const std::string& expected) {
      throw Error("accumulate_into[" + std::to_string(i) + "] is " + what + ", expected " + expected +
                  " like its parameter");
    };
    if (!same_sizes(given, parameter)) fail(shape_text(given), shape_text(parameter));
    if (given.scalar_type() != parameter.scalar_type()) fail(dtype_text(given), dtype_text(parameter));
    if (!same_device(given, parameter)) fail("on " + device_text(given), device_text(parameter));
  }
}

void LayerFunctions::want_gradients(const std::vector<int32_t>& wanted, const std::vector<Tensor>& accumulate_into,
                                    bool input) {
  wants_input_ = input;
  pass_ = next_pass();
  states_.leave();  // the forward pass's output is the caller's
  wanted_ = wanted;
  given_ = accumulate_into;
  gradients_.assign(parameters_.size(), Tensor());
}

GradientTarget LayerFunctions::gradient_target(int64_t index) {
  const size_t i = static_cast<size_t>(index);
  if (!wants(index)) return {};
  if (!given_.empty() && given_[i].defined()) return {given_[i], true};
  const bool add = gradients_[i].defined();
  if (!add) gradients_[i] = torch::stable::empty_like(parameters_[i]);
  return {gradients_[i], add};
}

Tensor LayerFunctions::gradient_so_far(int64_t index) const {
  const size_t i = static_cast<size_t>(index);
  if (table_->is_mixed()) return {};
  return !given_.empty() && given_[i].defined() ? given_[i] : gradients_[i];
}

void LayerFunctions::add_gradient(int64_t index, const Tensor& computed) {
  const size_t i = static_cast<size_t>(index);
  const Tensor gradient = table_->is_mixed() ? torch::stable::to(computed, parameters_[i].scalar_type()) : computed;
  if (!given_.empty() && given_[i].defined()) {
    add_scaled(given_[i], gradient, 1.0, given_[i]);
  } else if (gradients_[i].defined()) {
    add_scaled(gradients_[i], gradient, 1.0, gradients_[i]);
  } else if (same_dense_layout(gradient, parameters_[i])) {
    gradients_[i] = gradient;
  } else {
    // As autograd lays a gradient out: like its parameter. Optimizers make their own state like it, and checkpoints
    // read that.
    gradients_[i] = torch::stable::empty_like(parameters_[i]);
    torch::stable::copy_(gradients_[i], gradient);
  }
}

// A function that all share is done with once the last of them is.
void LayerFunctions::end_products(int64_t n) {
  if (!has_listener() || table_->row_of(n) != n) return;
  int64_t count = 0;
  for (const LayerTable::Row& row : table_->function(n).rows) count += row.layer->parameter_count();
  if (count > 0) resnet_nodes::tell(listener(), table_->function(n).first_parameter(), count);
}

std::vector<Tensor> LayerFunctions::take_gradients() {
  given_.clear();
  narrow_ = {};
  return std::move(gradients_);
}

}  // namespace resnet_nodes
