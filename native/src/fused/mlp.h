// mlp.h: the residual function Linear - activation - Linear with a narrow middle, some rows at a time in the
// cache. float32 on the CPU. Nothing crosses rows but the parameters' gradients.
#pragma once

#include <string>
#include <vector>

#include "fused/mlp_workspace.h"
#include "fused/states.h"
#include "resnet_nodes/layers.h"
#include "tensors/fused_steps.h"

namespace resnet_nodes {

/// Whether these layers are the pattern.
bool is_mlp(const std::vector<LayerSpec>& layers);
/// Whether such layers can be fused on this state, whose rows are `width` long.
bool fuses_mlp(const Tensor& x, int64_t width);
/// "fused linear-tanh-linear, 8 hidden, avx512".
std::string mlp_path_name(LayerKind activation, int64_t hidden);

/// One function in one call.
struct MlpCall {
  FusedStates* states = nullptr;
  PackedKey key;
  MlpParameters parameters;
  LayerKind activation = LayerKind::tanh;
  /// Weight and bias of each layer; read only by the product.
  GradientTarget weight_target[2];
  GradientTarget bias_target[2];
};

/// The same calls as ConvBlock's. Of the tape, x and `inner` are used: the activation's output.
class Mlp {
 public:
  /// For states like x, which `fuses_mlp` took. Both live as long as the function.
  Mlp(MlpWorkspace& workspace, const MlpCall& call, const Tensor& x);

  /// base + a f(x); a f(x) where base is undefined.
  Tensor forward(const Tensor& base, const Tensor& x, double a, FusedTape* tape);
  /// The backward pass evaluates it in the same way.
  Tensor replay(const Tensor& base, const Tensor& x, double a, FusedTape* tape) { return forward(base, x, a, tape); }
  /// y - a f(predicted) and how far that is from `predicted`; the tape of f at `predicted`.
  Corrected correct(const Tensor& y, const Tensor& predicted, double a, bool keep_slope, const Tensor& cotangent,
                    FusedTape& tape);
  /// base + a (df/dx)^T cotangent; without base where that is undefined. Adds up the parameters' gradients.
  Tensor vjp(const Tensor& base, const Tensor& cotangent, double a, FusedTape& tape);

 private:
  float* kept_hidden(const Tensor& x, FusedTape* tape) const;
  void activate(float* hidden, const float* x, int64_t rows, const MlpWorkspace::Packed& packed) const;

  MlpWorkspace& workspace_;
  const MlpCall& call_;
  MlpActivation activation_;
};

}  // namespace resnet_nodes
