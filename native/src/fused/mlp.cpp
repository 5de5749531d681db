#include "fused/mlp.h"

#include "tensors/active_kernels.h"
#include "tensors/elementwise.h"
#include "tensors/layout.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

// As far as it has been measured: with so many hidden numbers a step takes half of the operators' time (AVX-512).
constexpr int64_t kMostHidden = 128;
// A register of every kernel path fits into a row of this length.
constexpr int64_t kLeastWidth = 16;
// Floats of a layer's weights, likewise; they stay in the second-level cache.
constexpr int64_t kMostWeights = 1 << 17;

Tensor dense(const Tensor& x) { return x.is_contiguous() ? x : state_layout(x); }

}  // namespace

bool is_mlp(const std::vector<LayerSpec>& layers) {
  if (layers.size() != 3) return false;
  const LayerSpec &in = layers[0], &out = layers[2];
  const bool kinds = in.kind == LayerKind::linear && out.kind == LayerKind::linear &&
                     (layers[1].kind == LayerKind::tanh || layers[1].kind == LayerKind::relu);
  return kinds && in.in_features == out.out_features && in.out_features == out.in_features &&
         in.out_features <= kMostHidden && in.in_features >= kLeastWidth &&
         in.in_features * in.out_features <= kMostWeights;
}

// Four-dimensional states are channels_last, their rows not dense.
bool fuses_mlp(const Tensor& x, int64_t width) {
  return x.is_cpu() && x.scalar_type() == ScalarType::Float && x.dim() != 4 && x.dim() > 0 && x.numel() > 0 &&
         x.size(x.dim() - 1) == width;
}

std::string mlp_path_name(LayerKind activation, int64_t hidden) {
  return std::string("fused linear-") + (activation == LayerKind::tanh ? "tanh" : "relu") + "-linear, " +
         std::to_string(hidden) + " hidden, " + active_kernels().name;
}

Mlp::Mlp(MlpWorkspace& workspace, const MlpCall& call, const Tensor& x)
    : workspace_(workspace), call_(call), activation_(call.activation == LayerKind::tanh ? kTanh : kRelu) {
  const Tensor& weight = call.parameters.weight[0];
  workspace_.prepare(weight.size(1), weight.size(0), x.numel() / weight.size(1), active_kernels().mlp);
}

// Where the hidden numbers of all rows go; null where nothing keeps them.
float* Mlp::kept_hidden(const Tensor& x, FusedTape* tape) const {
  if (tape == nullptr) return nullptr;
  const MlpShape& shape = workspace_.shape();
  const int64_t rows = x.numel() / shape.width, count = rows * shape.columns;
  tape->keep(x, {count});
  return target(tape->values[0]);
}

void Mlp::activate(float* hidden, const float* x, int64_t rows, const MlpWorkspace::Packed& packed) const {
  const MlpShape& shape = workspace_.shape();
  workspace_.loops().dots(hidden, x, packed.weights[0].data(), packed.bias(0), rows, shape);
  workspace_.loops().activate[activation_](hidden, rows * shape.columns);
}

Tensor Mlp::forward(const Tensor& base_state, const Tensor& state, double a, FusedTape* tape) {
  const Tensor x = dense(state), base = base_state.defined() ? dense(base_state) : Tensor();
  const MlpShape& shape = workspace_.shape();
  const MlpWorkspace::Packed& packed = workspace_.packed(call_.key, call_.parameters);
  const Tensor result = call_.states->like(x);
  float *kept = kept_hidden(x, tape), *out = target(result);
  const float *from = data(x), *to = base.defined() ? data(base) : nullptr;
  workspace_.for_blocks([&](int64_t, int64_t first, int64_t rows, MlpWorkspace::Slot& slot) {
    const int64_t at = first * shape.width;
    float* hidden = kept != nullptr ? kept + first * shape.columns : slot.hidden.data();
    activate(hidden, from + at, rows, packed);
    workspace_.loops().combine(out + at, to != nullptr ? to + at : nullptr, hidden, packed.weights[1].data(),
                               packed.bias(1), a, rows, shape);
  });
  return result;
}

Corrected Mlp::correct(const Tensor& y_state, const Tensor& predicted_state, double a, bool keep_slope, const Tensor&,
                       FusedTape& tape) {
  const Tensor y = dense(y_state), predicted = dense(predicted_state);
  const MlpShape& shape = workspace_.shape();
  const MlpWorkspace::Packed& packed = workspace_.packed(call_.key, call_.parameters);
  Corrected result{call_.states->like(y), keep_slope ? call_.states->like(y) : Tensor(), {}};
  std::vector<StepNorms> norms(static_cast<size_t>(workspace_.blocks()));
  float *kept = kept_hidden(predicted, &tape), *out = target(result.state),
        *slope = keep_slope ? target(result.slope) : nullptr;
  const float *after = data(y), *from = data(predicted);
  workspace_.for_blocks([&](int64_t block, int64_t first, int64_t rows, MlpWorkspace::Slot&) {
    const int64_t at = first * shape.width;
    float* hidden = kept + first * shape.columns;
    activate(hidden, from + at, rows, packed);
    norms[static_cast<size_t>(block)] =
        workspace_.loops().correct(out + at, slope != nullptr ? slope + at : nullptr, after + at, from + at, hidden,
                                   packed.weights[1].data(), packed.bias(1), a, rows, shape);
  });
  result.norms = sum_of(norms);
  return result;
}

Tensor Mlp::vjp(const Tensor& base_state, const Tensor& cotangent_state, double a, FusedTape& tape) {
  const Tensor cotangent = dense(cotangent_state), base = base_state.defined() ? dense(base_state) : Tensor();
  const MlpShape& shape = workspace_.shape();
  const MlpKernels& loops = workspace_.loops();
  const MlpWorkspace::Packed& packed = workspace_.packed(call_.key, call_.parameters);
  const Tensor result = call_.states->like(cotangent);
  const float *x = data(tape.x), *g = data(cotangent), *kept = data(tape.values[0]),
              *to = base.defined() ? data(base) : nullptr;
  float* out = target(result);
  const bool wanted[2] = {call_.weight_target[0].gradient.defined(),
                          call_.weight_target[1].gradient.defined() || call_.bias_target[1].gradient.defined()};
  workspace_.for_blocks_with_sums([&](int64_t first, int64_t rows, int64_t part, MlpWorkspace::Slot& slot) {
    const int64_t at = first * shape.width;
    const float* hidden = kept + first * shape.columns;
    float* gradient = slot.gradient.data();
    loops.dots(gradient, g + at, packed.weights[1].data(), nullptr, rows, shape);
    loops.differentiate[activation_](gradient, hidden, a, rows * shape.columns);
    loops.combine(out + at, to != nullptr ? to + at : nullptr, gradient, packed.weights[0].data(), nullptr, 1.0, rows,
                  shape);
    loops.add_rows(workspace_.bias_sums(part, 0), gradient, rows, shape);
    if (wanted[0]) loops.outer(workspace_.weight_sums(part, 0), nullptr, gradient, x + at, rows, shape);
    if (wanted[1]) {
      loops.outer(workspace_.weight_sums(part, 1), workspace_.bias_sums(part, 1), hidden, g + at, rows, shape);
    }
  });
  for (size_t layer = 0; layer < 2; ++layer) {
    // The gradients of the hidden numbers have the factor in them.
    const double factor = layer == 0 ? 1 : a;
    const GradientTarget &weight = call_.weight_target[layer], &bias = call_.bias_target[layer];
    if (weight.gradient.defined()) workspace_.weight_gradient(layer, weight.gradient, factor, weight.add);
    if (bias.gradient.defined()) workspace_.bias_gradient(layer, bias.gradient, factor, bias.add);
  }
  return result;
}

}  // namespace resnet_nodes
