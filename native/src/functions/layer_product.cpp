#include "functions/layer_product.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <utility>

#include "tensors/channels.h"
#include "tensors/fused_steps.h"
#include "tensors/layout.h"
#include "tensors/operators.h"

namespace resnet_nodes {
namespace {

Tensor sum(const Tensor& a, const Tensor& b) { return plus_scaled(a, b, 1.0); }

}  // namespace

LayerProduct::LayerProduct(const LayerTable::Function& function, const ProductHost& host, const Parts& parts,
                           KeptOutputs& outputs, torch::headeronly::ScalarType type)
    : function_(function), host_(host), parts_(parts), outputs_(outputs), type_(type) {
  live_.push_back(host.wants_input);
  for (const LayerTable::Row& row : function.rows) {
    bool live = has_live_input(row);
    for (int64_t i = 0; i < row.layer->parameter_count(); ++i) live = live || host.wants(row.first_parameter + i);
    live_.push_back(live);
  }
  pending_.resize(live_.size());
  local_.resize(live_.size());
  sums_.resize(function.rows.size());
}

Tensor LayerProduct::of(const ProductOperands& operands) {
  pending_.back().all = operands.cotangent;
  for (int64_t level = 0; level < parts_.level_count; ++level) {
    finish_norms(level);
    for (int64_t first = 0; first < parts_.batch; first += parts_.images) {
      run_part(level, first, std::min(parts_.images, parts_.batch - first), operands);
    }
    for (size_t r = 0; r < function_.rows.size(); ++r) {
      if (parts_.levels[r] != level) continue;
      pending_[r + 1] = Pending();
      if (!host_.keeps_outputs) outputs_[r + 1] = Tensor();
    }
  }
  return result_;
}

void LayerProduct::run_part(int64_t level, int64_t first, int64_t count, const ProductOperands& operands) {
  RowOutputs outputs(function_, host_.call_of, outputs_, first, count);
  for (size_t r = function_.rows.size(); r-- > 0;) {
    if (parts_.levels[r] != level) continue;
    const LayerTable::Row& row = function_.rows[r];
    if (const Tensor cotangent = cotangent_of(r + 1, first, count, operands);
        cotangent.defined() && is_live(static_cast<int64_t>(r))) {
      const Tensor gradient = input_gradient(r, cotangent, outputs);
      hand(row.input, gradient);
      if (row.takes_two && is_live(row.other)) hand(row.other, row.layer->other_gradient(cotangent, gradient));
    }
    // Nobody reads it again in this part.
    outputs.drop(static_cast<int64_t>(r));
    if (parts_.is_whole() && !host_.keeps_outputs) outputs_[r + 1] = Tensor();
  }
  leave(level, first, count);
  add_sums(level, first, count, operands, outputs);
  if (level + 1 == parts_.level_count && host_.wants_input) write_input(first, count, operands);
}

// That of this part, with what earlier levels have left.
Tensor LayerProduct::cotangent_of(size_t place, int64_t first, int64_t count, const ProductOperands& operands) {
  const Tensor local = std::exchange(local_[place], Tensor());
  if (!pending_[place].all.defined()) return local;
  Tensor earlier = part_of(pending_[place].all, 0, first, count);
  if (place + 1 == live_.size()) {
    if (operands.scale != 1) earlier = scaled(earlier, operands.scale);
    earlier = torch::stable::to(earlier, type_);
  }
  return local.defined() ? sum(earlier, local) : earlier;
}

Tensor LayerProduct::input_gradient(size_t r, const Tensor& cotangent, RowOutputs& outputs) {
  const LayerTable::Row& row = function_.rows[r];
  LayerCall call = host_.call_of(row);
  const bool wants_input = has_live_input(row);
  if (parts_.barriers[r]) {
    if (!wants_input) return {};
    const Tensor weight = row.layer->parameter_count() > 0 ? call.parameters[0] : Tensor();
    const int64_t of_all = call.statistics->values;
    const int64_t values = of_all > 0 ? of_all : parts_.batch * cotangent.size(2) * cotangent.size(3);
    return norm_input_gradient(cotangent, outputs.of(row.input), call.statistics->mean, call.statistics->invstd, weight,
                               sums_[r], values);
  }
  GradientMask mask{wants_input, false, false};
  for (int64_t i = 0; i < row.layer->parameter_count(); ++i) {
    mask[static_cast<size_t>(i) + 1] = host_.wants(row.first_parameter + i);
  }
  if (mask[1]) call.weight_sum = host_.sum_of(row.first_parameter);
  const Tensor other = row.layer->reads_other() ? outputs.of(row.other) : Tensor();
  call.other = &other;
  const GradientTriple gradients = row.layer->vjp(cotangent, outputs.read_by(row, static_cast<int64_t>(r)), call, mask);
  for (int64_t i = 0; i < row.layer->parameter_count(); ++i) {
    const size_t slot = static_cast<size_t>(i) + 1;
    const bool is_added = slot == 1 && call.weight_sum.defined() && !gradients[slot].defined();
    if (mask[slot] && !is_added) host_.add(row.first_parameter + i, gradients[slot]);
  }
  return gradients[0];
}

void LayerProduct::hand(int64_t to, const Tensor& gradient) {
  if (!is_live(to) || !gradient.defined()) return;
  Tensor& place = local_[static_cast<size_t>(to + 1)];
  place = place.defined() ? sum(place, gradient) : gradient;
}

// Cotangents of this part that later levels need.
void LayerProduct::leave(int64_t level, int64_t first, int64_t count) {
  std::vector<std::pair<Tensor, size_t>> left;
  for (size_t place = 0; place < local_.size(); ++place) {
    if (!local_[place].defined() || level_of(place) == level) continue;
    const Tensor local = std::exchange(local_[place], Tensor());
    Pending& pending = pending_[place];
    // Both branches of a sum are given one cotangent: it is left once.
    const auto same =
        std::find_if(left.begin(), left.end(), [&](const auto& one) { return one.first.get() == local.get(); });
    if (same != left.end() && (pending.since < 0 || (pending.since == level && !pending.is_own))) {
      Pending& shared = pending_[same->second];
      shared.is_own = false;
      pending = shared;
      continue;
    }
    left.emplace_back(local, place);
    if (pending.since < 0 && parts_.is_whole()) {
      pending = {local, level, false};
      continue;
    }
    const bool adds = pending.since >= 0 && pending.since < level;
    if (pending.since < 0) pending = {whole_like(local, 0, parts_.batch), level, true};
    if (adds && !pending.is_own) pending.all = torch::stable::clone(pending.all), pending.is_own = true;
    Tensor part = part_of(pending.all, 0, first, count);
    torch::stable::copy_(part, adds ? sum(part, local) : local);
  }
}

// Of normalizations whose cotangents are complete: those of the next level.
void LayerProduct::add_sums(int64_t level, int64_t first, int64_t count, const ProductOperands& operands,
                            RowOutputs& outputs) {
  for (size_t r = 0; r < function_.rows.size(); ++r) {
    if (!parts_.barriers[r] || parts_.levels[r] != level + 1 || !is_live(static_cast<int64_t>(r))) continue;
    const LayerTable::Row& row = function_.rows[r];
    const Tensor& x = outputs.of(row.input);
    if (!sums_[r].defined()) sums_[r] = new_channel_sums(x);
    add_channel_sums(cotangent_of(r + 1, first, count, operands), x, host_.call_of(row).statistics->mean, sums_[r]);
  }
}

void LayerProduct::write_input(int64_t first, int64_t count, const ProductOperands& operands) {
  const Tensor base = operands.base.defined() ? part_of(operands.base, 0, first, count) : Tensor();
  Tensor gradient = cotangent_of(0, first, count, operands);
  if (base.defined()) gradient = torch::stable::to(gradient, base.scalar_type());
  if (parts_.is_whole()) {
    result_ = base.defined() ? add_scaled(base, gradient, 1.0) : gradient;
    return;
  }
  if (!result_.defined()) result_ = whole_like(gradient, 0, parts_.batch);
  Tensor part = part_of(result_, 0, first, count);
  if (base.defined()) {
    add_scaled(base, gradient, 1.0, part);
  } else {
    torch::stable::copy_(part, gradient);
  }
}

// Gradients of weights and biases, which need the sums alone: those of this rank's images. The input's gradient takes
// those of all ranks, in the order of levels and rows, which all ranks share.
void LayerProduct::finish_norms(int64_t level) {
  for (size_t r = 0; r < function_.rows.size(); ++r) {
    const LayerTable::Row& row = function_.rows[r];
    if (!parts_.barriers[r] || parts_.levels[r] != level || !sums_[r].defined()) continue;
    const LayerCall call = host_.call_of(row);
    const bool affine = row.layer->parameter_count() > 0;
    if (affine && host_.wants(row.first_parameter)) {
      host_.add(row.first_parameter, norm_weight_gradient(call.statistics->invstd, sums_[r], call.parameters[0]));
    }
    if (affine && host_.wants(row.first_parameter + 1)) {
      host_.add(row.first_parameter + 1, norm_bias_gradient(sums_[r], call.parameters[1]));
    }
    if (call.ranks != nullptr && has_live_input(row)) {
      call.ranks->add_up(static_cast<double*>(sums_[r].mutable_data_ptr()), sums_[r].numel());
    }
  }
}

}  // namespace resnet_nodes
