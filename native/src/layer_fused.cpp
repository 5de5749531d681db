// layer_fused.cpp: the calls that functions can be fused for; by layers where they are not.
#include <utility>

#include "layer_function.h"
#include "steps.h"

namespace resnet_nodes {
namespace {

FusedTape* fused_tape(Tape* tape) { return tape != nullptr ? &static_cast<LayerTape*>(tape)->fused : nullptr; }

}  // namespace

FusedCall LayerFunctions::image_call(Use use, bool gradients) {
  const std::vector<LayerTable::Row>& rows = table_->function(use.function).rows;
  FusedCall call;
  for (size_t i = 0; i < 2; ++i) {
    const LayerTable::Row &convolution = rows[3 * i], &norm = rows[3 * i + 1];
    call.convolution[i] = call_for(use, convolution);
    call.norm[i] = call_for(use, norm);
    call.norm_spec[i] = norm.layer->spec();
    call.has_bias[i] = convolution.layer->spec().bias;
    for (int64_t k = 0; gradients && k < 2; ++k) {
      const size_t slot = 4 * i + static_cast<size_t>(k);
      if (k < convolution.layer->parameter_count()) {
        call.targets[slot] = gradient_target(convolution.first_parameter + k);
      }
      if (k < norm.layer->parameter_count()) call.targets[slot + 2] = gradient_target(norm.first_parameter + k);
    }
  }
  return call;
}

FusedLinearCall LayerFunctions::linear_call(Use use, bool gradients) {
  const LayerTable::Function& function = table_->function(use.function);
  FusedLinearCall call;
  call.activation = function.spec(1).kind;
  for (size_t i = 0; i < 2; ++i) {
    const LayerTable::Row& row = function.rows[2 * i];
    const Tensor* parameters = call_for(use, row).parameters;
    const bool has_bias = row.layer->spec().bias;
    call.parameters.weight[i] = parameters[0];
    if (has_bias) call.parameters.bias[i] = parameters[1];
    if (gradients) call.weight_target[i] = gradient_target(row.first_parameter);
    if (gradients && has_bias) call.bias_target[i] = gradient_target(row.first_parameter + 1);
  }
  return call;
}

// Calls evaluate(the function, ready to work on states like x).
template <typename Evaluate>
auto LayerFunctions::fused(Use use, const Tensor& x, const Evaluate& evaluate, bool gradients) {
  const auto run = [&]<typename Function, typename Workspace>(auto call, FusedPool<Workspace>& pool) {
    call.states = &states_;
    // In a pass the parameters stay as they are, so that weights need be packed once for all evaluations of a step.
    call.key = {pass_, table_->shared() ? 0 : use.function};
    const typename FusedPool<Workspace>::Lease lease(pool);
    Function function(*lease, call, x);
    return evaluate(function);
  };
  if (table_->function(use.function).fusion == Fusion::linear) {
    return run.template operator()<FusedLinear>(linear_call(use, gradients), table_->linear_pool());
  }
  return run.template operator()<FusedFunction>(image_call(use, gradients), table_->image_pool());
}

Tensor LayerFunctions::forward(Use use, const Tensor& x, Tape* tape) {
  if (!table_->fuses(use.function, x)) return apply(use, x, tape, false);
  return fused(use, x, [&](auto& f) { return f.forward(Tensor(), x, 1.0, fused_tape(tape)); });
}

Tensor LayerFunctions::replay(Use use, const Tensor& x, Tape* tape) {
  if (!table_->fuses(use.function, x)) return apply(use, x, tape, true);
  return fused(use, x, [&](auto& f) { return f.replay(Tensor(), x, 1.0, fused_tape(tape)); });
}

Tensor LayerFunctions::forward_step(Use use, const Tensor& base, const Tensor& x, double a, Tape* tape) {
  if (!table_->fuses(use.function, x)) return ResidualFunctions::forward_step(use, base, x, a, tape);
  return fused(use, x, [&](auto& f) { return f.forward(base, x, a, fused_tape(tape)); });
}

Tensor LayerFunctions::replay_step(Use use, const Tensor& base, const Tensor& x, double a) {
  if (!table_->fuses(use.function, x)) return ResidualFunctions::replay_step(use, base, x, a);
  return fused(use, x, [&](auto& f) { return f.replay(base, x, a, nullptr); });
}

Corrected LayerFunctions::correct_step(Use use, const Tensor& y, const Tensor& predicted, double a, bool keep_slope,
                                       const Tensor& cotangent, Tape& tape) {
  if (!table_->fuses(use.function, y)) {
    return ResidualFunctions::correct_step(use, y, predicted, a, keep_slope, cotangent, tape);
  }
  Corrected result =
      fused(use, y, [&](auto& f) { return f.correct(y, predicted, a, keep_slope, cotangent, *fused_tape(&tape)); });
  if (norms_place().defined()) set_norms(norms_place(), std::exchange(result.norms, StepNorms()), y, predicted);
  return result;
}

Tensor LayerFunctions::vjp_step(Use use, Tape& tape, const Tensor& cotangent, double a) {
  if (!table_->fuses(use.function, cotangent)) return ResidualFunctions::vjp_step(use, tape, cotangent, a);
  return fused(
      use, cotangent, [&](auto& f) { return f.vjp(cotangent, cotangent, a, *fused_tape(&tape)); }, true);
}

Tensor LayerFunctions::vjp(Use use, Tape& tape, const Tensor& cotangent) {
  if (!table_->fuses(use.function, cotangent)) return vjp_by_layers(use, tape, cotangent);
  return fused(
      use, cotangent, [&](auto& f) { return f.vjp(Tensor(), cotangent, 1.0, *fused_tape(&tape)); }, true);
}

}  // namespace resnet_nodes
