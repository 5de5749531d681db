// conv_block.h: the residual function conv3x3 - batch norm - ReLU - conv3x3 - batch norm, image by image in the
// first-level cache. float32 on the CPU. Only batch normalization's sums cross images.
#pragma once

#include <string>
#include <vector>

#include "fused/conv_workspace.h"
#include "fused/states.h"
#include "layers/layer.h"
#include "tensors/fused_steps.h"

namespace resnet_nodes {

/// Whether these layers are the pattern.
bool is_conv_block(const std::vector<LayerSpec>& layers);
/// Whether such layers can be fused on this state.
bool fuses_conv_block(const Tensor& x, int64_t channels);
/// "fused conv3x3, 16 channels, avx512".
std::string conv_block_path_name(int64_t channels);

/// One function in one call.
struct ConvBlockCall {
  FusedStates* states = nullptr;
  PackedKey key;
  LayerCall convolution[2];
  LayerCall norm[2];
  LayerSpec norm_spec[2];
  bool has_bias[2] = {false, false};
  /// Weight and bias of conv, norm, conv, norm; read only by the product.
  GradientTarget targets[8];
};

class ConvBlock {
 public:
  /// For states like x, which `fuses` took. Both live as long as the function.
  ConvBlock(ConvWorkspace& workspace, const ConvBlockCall& call, const Tensor& x);

  /// base + a f(x) in the forward pass; a f(x) where base is undefined.
  Tensor forward(const Tensor& base, const Tensor& x, double a, FusedTape* tape);
  /// The same in the backward pass, with the forward pass's statistics.
  Tensor replay(const Tensor& base, const Tensor& x, double a, FusedTape* tape);
  /// y - a f(predicted) and how far that is from `predicted`; the tape of f at `predicted` for this cotangent.
  Corrected correct(const Tensor& y, const Tensor& predicted, double a, bool keep_slope, const Tensor& cotangent,
                    FusedTape& tape);
  /// base + a (df/dx)^T cotangent; without base where that is undefined. Adds up the parameters' gradients.
  Tensor vjp(const Tensor& base, const Tensor& cotangent, double a, FusedTape& tape);

 private:
  // The numbers of a vector of any stride, or one number for all.
  struct Numbers {
    const float* first;
    int64_t stride;
    explicit Numbers(const Tensor& tensor) : first(data(tensor)), stride(tensor.stride(0)) {}
    explicit Numbers(const float& all) : first(&all), stride(0) {}
    float operator[](int64_t i) const { return first[i * stride]; }
  };
  // A batch normalization as an affine map of each channel. The numbers lie in the workspace.
  struct Norm {
    float* mean;
    float* invstd;
    float* scale;
    float* shift;
  };
  struct Convolution {
    const float* weights;
    const float* bias;
  };
  struct NormGradient {
    float* by_g;
    float* by_x;
    float* constant;
  };

  Convolution convolution(size_t index) const;
  template <typename Finish>
  void evaluate(const Tensor& x, const Norm& inner_norm, FusedTape* tape, const Finish& finish);
  void add_convolution_gradients(size_t index);

  // fused_norms.cpp
  bool uses_batch(size_t index) const;
  Numbers gamma(size_t index) const;
  float invstd(double variance, size_t index) const;
  Norm place_of(size_t index) const;
  void bind(size_t index, const Norm& norm) const;
  Norm saved_norm(size_t index) const;
  Norm batch_norm(size_t index);
  Norm scaled(const Norm& norm, double a) const;
  NormGradient norm_gradient(size_t index, const Norm& norm, double a, const float* sums);

  bool wants(size_t target) const { return call_.targets[target].gradient.defined(); }

  ConvWorkspace& workspace_;
  const ConvBlockCall& call_;
};

}  // namespace resnet_nodes
