// fused_function.h: the residual function conv3x3 - batch norm - ReLU - conv3x3 - batch norm, image by image in the
// first-level cache. float32 on the CPU. What crosses images is batch normalization's sums alone.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "fused_workspace.h"
#include "layer.h"
#include "residual_function.h"

namespace resnet_nodes {

/// Whether these layers are the pattern.
bool is_fusible(const std::vector<LayerSpec>& layers);
/// Whether such layers can be fused on this state.
bool fuses(const Tensor& x, int64_t channels);
/// False where the environment variable RESNET_NODES_FUSED is off. Throws Error where it is neither on nor off.
bool fusing_is_on();
/// "fused conv3x3, 16 channels, avx512".
std::string fused_path_name(int64_t channels);

/// What one evaluation keeps.
struct FusedTape {
  Tensor x;
  Tensor inner;  ///< of the first convolution
  Tensor outer;  ///< of the second; the product writes over it
  /// For each image the sums of g and of g (outer - mean), where the evaluation knew the cotangent.
  FloatBuffer sums;
  bool has_sums = false;

  /// Of f at x: its memory is used again where it fits.
  void keep(const Tensor& x);
};

/// Where a parameter's gradient goes; undefined: it is not wanted.
struct GradientTarget {
  Tensor gradient;
  bool add = false;
};

/// The states of one pass. Memory of those that nobody reads any more is used again: fresh memory costs a page fault
/// for each 4 KiB.
class FusedStates {
 public:
  Tensor like(const Tensor& x);
  void recycle(const Tensor& state);
  /// What was given out belongs to others from here on.
  void leave();

 private:
  std::array<const void*, 16> given_{};  // the latest; addresses alone, so that nothing is kept alive
  size_t next_ = 0;
  std::vector<Tensor> spare_;
};

/// One function in one call.
struct FusedCall {
  FusedStates* states = nullptr;
  PackedKey key;
  LayerCall convolution[2];
  LayerCall norm[2];
  LayerSpec norm_spec[2];
  bool has_bias[2] = {false, false};
  /// Weight and bias of conv, norm, conv, norm; read by the product alone.
  GradientTarget targets[8];
};

class FusedFunction {
 public:
  /// For states like x, which `fuses` took. Both live as long as the function.
  FusedFunction(FusedWorkspace& workspace, const FusedCall& call, const Tensor& x);

  /// base + a f(x) in the forward pass; a f(x) where base is undefined.
  Tensor forward(const Tensor& base, const Tensor& x, double a, FusedTape* tape);
  /// The same on the way back, with the forward pass's statistics.
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
    float* inverse_deviation;
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
  float inverse_deviation(double variance, size_t index) const;
  Norm place_of(size_t index) const;
  void bind(size_t index, const Norm& norm) const;
  Norm saved_norm(size_t index) const;
  Norm batch_norm(size_t index);
  Norm scaled(const Norm& norm, double a) const;
  NormGradient norm_gradient(size_t index, const Norm& norm, double a, const float* sums);

  bool wants(size_t target) const { return call_.targets[target].gradient.defined(); }

  FusedWorkspace& workspace_;
  const FusedCall& call_;
};

}  // namespace resnet_nodes
