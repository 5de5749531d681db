// conv_block.h: a residual function of convolutions, batch normalizations and ReLUs, some images at a time in the
// second-level cache. float32 on the CPU, or bfloat16 around a float32 state. Only batch normalization's sums cross
// images.
#pragma once

#include <string>
#include <vector>

#include "fused/conv_workspace.h"
#include "fused/states.h"
#include "layers/layer.h"
#include "tensors/fused_steps.h"

namespace resnet_nodes {

/// Whether such functions can be fused on this state. `narrow`: in bfloat16.
bool fuses_conv_block(const Tensor& x, const ConvChain& chain, bool narrow);
/// "fused conv3x3-conv3x3, 16 channels, avx512"; ", bfloat16".
std::string conv_block_path_name(const ConvChain& chain, bool narrow);

/// One function in one call.
struct ConvBlockCall {
  struct Unit {
    LayerCall convolution;
    LayerCall norm;
    LayerSpec norm_spec;
    bool has_bias = false;
    // Read only by the product.
    GradientTarget weight, bias, norm_weight, norm_bias;
  };
  FusedStates* states = nullptr;
  PackedKey key;
  const ConvChain* chain = nullptr;
  std::vector<Unit> units;
};

/// `Number`: float, or BFloat16: the type of what convolutions read and give, and of the factors of their products. All
/// sums are float32.
template <typename Number>
class ConvBlock {
 public:
  /// For states like x, which `fuses` took. All live as long as the function.
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
  using Slot = ConvWorkspace::Slot;
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
    const Number* weights;
    const float* bias;
  };
  struct NormGradient {
    float* by_g;
    float* by_x;
    float* constant;
  };
  // The way back through one unit.
  struct Back {
    size_t unit;
    const float* g;        // of the normalization's output
    const float* state;    // the first unit's input
    const Number* before;  // the other units': what the convolution before gave
    const Number* value;   // what its convolution gave
    float* to;             // the gradient of its input
    const float* base;     // what that is added to; may be null
    NormGradient norm;
    const Number* weights;  // of the input's gradient
  };
  // A group's gradient of the convolution's output, and its input.
  struct Blocked {
    Number* gradient;
    Number* activation;
    ConvPass pass;
  };
  // The tiles of a weight gradient by channels: those of a span of groups.
  struct Span {
    const Number* inputs;
    const Number* gradients;
    TileShape input_tiles;
    TileShape gradient_tiles;
    int64_t of_group;  // the room of a whole group's tiles, in tiles
    TileCounts tiles;
  };

  static Tensor dense(const Tensor& x);
  std::vector<int64_t> value_counts() const;
  Number* values(size_t unit, FusedTape* tape) const;
  size_t units() const { return workspace_.plan().units(); }
  int64_t channels(size_t unit) const { return workspace_.plan().unit(unit).out; }
  const ConvKernels<Number>& kernels() const { return kernels_; }
  void pack(bool transposed) const;
  const Number* packed(size_t unit, bool transposed) const;
  Convolution convolution(size_t unit) const;
  bool uses_any_batch() const;
  void activate(size_t unit, Number* blocked, const float* state, const Number* before, const ConvShape& shape) const;
  void convolve(size_t unit, const Convolution& by, const ConvGroup& group, const Number* blocked, Slot& slot,
                const ConvShare& share, Number* out) const;
  template <typename After>
  void convolve_all(size_t unit, const Convolution& by, const float* state, const Number* before, Number* to,
                    const After& after);
  template <typename Finish>
  void evaluate(const Tensor& x, FusedTape* tape, const Finish& finish);

  // conv_block_product.cpp
  void product_sums(size_t unit, const ConvGroup& group, const float* g, const Number* value, float* sums) const;
  void go_back(const Back& back);
  Blocked blocked(const Back& back, const ConvGroup& group, Slot& home) const;
  template <typename Place, typename After>
  void input_gradients(const Back& back, int64_t first_part, int64_t end_part, const Place& place, const After& after);
  const Number* factor(size_t which, const Number* tiles, TileShape& shape, int64_t positions, int64_t channels,
                       int64_t count, Slot& slot) const;
  void sum_by_part(const Back& back, const ConvGroup& group, Slot& slot, const Blocked& blocked);
  void go_back_by_channels(const Back& back);
  void put_tiles(const Back& back, int64_t behind, Slot& slot, const Span& span, const Blocked& blocked, Number* inputs,
                 Number* gradients);
  void add_span(const Back& back, const Span& span, bool add);
  bool masks(size_t unit) const { return unit > 0 || call_.chain->starts_with_relu; }

  // conv_block_norms.cpp
  bool uses_batch(size_t unit) const;
  Numbers gamma(size_t unit) const;
  float invstd(double variance, size_t unit) const;
  Norm norm(size_t unit) const;
  void bind(size_t unit, const Norm& norm) const;
  void load_norm(size_t unit) const;
  void batch_norm(size_t unit);
  Norm scaled(size_t unit, double a) const;
  NormGradient norm_gradient(size_t unit, double a, const float* sums);

  ConvWorkspace& workspace_;
  const ConvBlockCall& call_;
  const ConvKernels<Number>& kernels_;
};

}  // namespace resnet_nodes
