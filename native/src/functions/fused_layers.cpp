// fused_layers.cpp: the calls that functions can be fused for; by layers where they are not.
#include <utility>

#include "functions/layer_functions.h"
#include "tensors/norms.h"

namespace resnet_nodes {
namespace {

FusedTape* fused_tape(Tape* tape) { return tape != nullptr ? &static_cast<LayerTape*>(tape)->fused : nullptr; }

}  // namespace

ConvBlockCall LayerFunctions::conv_block_call(Use use, bool gradients) {
  const LayerTable::Function& function = table_->function(use.function);
  ConvBlockCall call;
  call.chain = &function.chain;
  call.units.resize(function.chain.units.size());
  for (size_t i = 0; i < call.units.size(); ++i) {
    const size_t first = function.chain.first_layer() + 3 * i;
    const LayerTable::Row &convolution = function.rows[first], &norm = function.rows[first + 1];
    ConvBlockCall::Unit& unit = call.units[i];
    // Weights are narrowed where they are packed.
    unit.convolution = wide_call(use, convolution);
    unit.norm = wide_call(use, norm);
    unit.norm_spec = norm.layer->spec();
    unit.has_bias = convolution.layer->spec().bias;
    if (!gradients) continue;
    unit.weight = gradient_target(convolution.first_parameter);
    if (unit.has_bias) unit.bias = gradient_target(convolution.first_parameter + 1);
    if (!unit.norm_spec.affine) continue;
    unit.norm_weight = gradient_target(norm.first_parameter);
    unit.norm_bias = gradient_target(norm.first_parameter + 1);
  }
  return call;
}

MlpCall LayerFunctions::mlp_call(Use use, bool gradients) {
  const LayerTable::Function& function = table_->function(use.function);
  MlpCall call;
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

// fused(the function, ready to work on states like x), where it is fused on those; else unfused().
template <typename Fused, typename Unfused>
auto LayerFunctions::by_path(Use use, const Tensor& x, bool gradients, const Fused& fused, const Unfused& unfused) {
  const auto run = [&]<typename Function, typename Workspace>(auto call, WorkspacePool<Workspace>& pool) {
    call.states = &states_;
    // In a pass the parameters stay as they are, so that weights need be packed once for all evaluations of a step.
    call.key = {pass_, table_->row_of(use.function)};
    const typename WorkspacePool<Workspace>::Lease lease(pool);
    Function function(*lease, call, x);
    return fused(function);
  };
  switch (table_->fusion(use.function, x)) {
    case Fusion::conv_block:
      if (table_->is_mixed()) {
        return run.template operator()<ConvBlock<BFloat16>>(conv_block_call(use, gradients), workspaces_->conv);
      }
      return run.template operator()<ConvBlock<float>>(conv_block_call(use, gradients), workspaces_->conv);
    case Fusion::mlp:
      return run.template operator()<Mlp>(mlp_call(use, gradients), workspaces_->mlp);
    case Fusion::none:
      break;
  }
  return unfused();
}

Tensor LayerFunctions::forward(Use use, const Tensor& x, Tape* tape) {
  return by_path(
      use, x, false, [&](auto& f) { return f.forward(Tensor(), x, 1.0, fused_tape(tape)); },
      [&] { return apply(use, x, tape, false); });
}

Tensor LayerFunctions::replay(Use use, const Tensor& x, Tape* tape) {
  return by_path(
      use, x, false, [&](auto& f) { return f.replay(Tensor(), x, 1.0, fused_tape(tape)); },
      [&] { return apply(use, x, tape, true); });
}

Tensor LayerFunctions::forward_step(Use use, const Tensor& base, const Tensor& x, double a, Tape* tape) {
  return by_path(
      use, x, false, [&](auto& f) { return f.forward(base, x, a, fused_tape(tape)); },
      [&] { return ResidualFunctions::forward_step(use, base, x, a, tape); });
}

Tensor LayerFunctions::replay_step(Use use, const Tensor& base, const Tensor& x, double a) {
  return by_path(
      use, x, false, [&](auto& f) { return f.replay(base, x, a, nullptr); },
      [&] { return ResidualFunctions::replay_step(use, base, x, a); });
}

Corrected LayerFunctions::correct_step(Use use, const Tensor& y, const Tensor& predicted, double a, bool keep_slope,
                                       const Tensor& cotangent, Tape& tape) {
  return by_path(
      use, y, false,
      [&](auto& f) {
        Corrected found = f.correct(y, predicted, a, keep_slope, cotangent, *fused_tape(&tape));
        if (norms_place().defined()) {
          set_norms(norms_place(), std::exchange(found.norms, StepNorms()));
        }
        return found;
      },
      [&] { return ResidualFunctions::correct_step(use, y, predicted, a, keep_slope, cotangent, tape); });
}

Tensor LayerFunctions::vjp_step(Use use, Tape& tape, const Tensor& cotangent, double a) {
  return by_path(
      use, cotangent, true, [&](auto& f) { return f.vjp(cotangent, cotangent, a, *fused_tape(&tape)); },
      [&] {
        return product(use, tape, {cotangent, a, cotangent});
      });
}

Tensor LayerFunctions::vjp(Use use, Tape& tape, const Tensor& cotangent) {
  return by_path(
      use, cotangent, true, [&](auto& f) { return f.vjp(Tensor(), cotangent, 1.0, *fused_tape(&tape)); },
      [&] {
        return product(use, tape, {cotangent, 1, Tensor()});
      });
}

}  // namespace resnet_nodes
