// layer.h: one layer of a residual function. Stateless: parameters, statistics and tape are passed with each call.
#pragma once

#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "layers/conv_bn_folding.h"
#include "ranks/norm_sums.h"
#include "resnet_nodes/layers.h"
#include "tensors/operators.h"

namespace resnet_nodes {

/// Batch mean and inverse standard deviation of one batch normalization in one step's forward pass; undefined in
/// others.
struct Statistics {
  Tensor mean;
  Tensor invstd;
  int64_t values = 0;  ///< a channel's, on all ranks of a synchronized stage; 0: those of the batch
};

/// What a layer works with in one call.
struct LayerCall {
  const Tensor* parameters = nullptr;  ///< weight, bias: as many as the layer has
  const Tensor* other = nullptr;       ///< the second input of a layer that takes two
  Tensor weight_sum;                   ///< vjp: where the weight's gradient may be added instead of being returned
  const Tensor* buffers = nullptr;     ///< running mean and variance, where it has them
  Statistics* statistics = nullptr;    ///< where it has them: written by forward, read on the way back
  std::shared_mutex* lock = nullptr;   ///< where buffers are read, shared; where they change, alone
  bool training = true;
  NormSums* ranks = nullptr;  ///< of a synchronized stage, whose batch statistics are those of all ranks
};

/// What a layer's product reads beside the cotangent and parameters.
enum class Reads { nothing, input, output };

/// A layer's forward pass and its vector-Jacobian product, by LibTorch's operators on any device.
class Layer {
 public:
  explicit Layer(const LayerSpec& spec) : spec_(spec) {}
  virtual ~Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  const LayerSpec& spec() const { return spec_; }
  virtual int64_t parameter_count() const { return 0; }
  virtual int64_t buffer_count() const { return 0; }
  virtual bool has_statistics() const { return false; }
  /// Whether the output is a new tensor that no product reads, so that it may be written over.
  virtual bool output_is_fresh() const { return false; }
  /// Whether the parameters have to be of the input's dtype. Those of others stay float32 beside narrower inputs.
  virtual bool parameters_follow_input() const { return false; }
  /// Sizes of parameter i, to check what is passed.
  virtual std::vector<int64_t> parameter_sizes(int64_t index) const;
  /// Throws Error where an input of this shape does not fit. `where` names the layer.
  virtual void check_input(const Tensor& x, const std::string& where) const;

  /// batch_norm2d with the forward pass's batch statistics: how it acts in the backward pass.
  virtual std::optional<KnownNorm> known_norm(const LayerCall&) const { return std::nullopt; }

  /// What `vjp` is to be given. An output that costs nothing more, since the next layer reads it, serves better than an
  /// input.
  virtual Reads reads() const { return Reads::nothing; }
  /// Whether it has a second input, of the shape of the first.
  virtual bool takes_two() const { return false; }
  /// Whether its product is to be given the second one, as it was.
  virtual bool reads_other() const { return false; }
  /// The gradient of the second input, from the output's and that of the first one.
  virtual Tensor other_gradient(const Tensor&, const Tensor& first) const { return first; }
  /// Sizes of the output for those of an input that passes check_input.
  virtual std::vector<int64_t> output_sizes(const std::vector<int64_t>& input) const { return input; }

  /// The forward pass's evaluation.
  virtual Tensor forward(const Tensor& x, const LayerCall& call) const = 0;
  /// The same function again, with the forward pass's statistics and without a change of any state.
  virtual Tensor replay(const Tensor& x, const LayerCall& call) const { return forward(x, call); }
  /// Gradients of input, weight and bias where the mask asks for them, undefined elsewhere.
  /// `read`: what `reads` says; undefined where that is nothing.
  virtual GradientTriple vjp(const Tensor& grad, const Tensor& read, const LayerCall& call,
                             const GradientMask& mask) const = 0;

 private:
  LayerSpec spec_;
};

/// A layer with a weight and, where its specification says so, a bias of its output's channels.
class WeightedLayer : public Layer {
 public:
  using Layer::Layer;

  int64_t parameter_count() const override { return spec().bias ? 2 : 1; }
  bool output_is_fresh() const override { return true; }
  bool parameters_follow_input() const override { return true; }
  std::vector<int64_t> parameter_sizes(int64_t index) const override;

 protected:
  virtual std::vector<int64_t> weight_sizes() const = 0;
  /// Undefined where there is none.
  Tensor bias(const LayerCall& call) const { return spec().bias ? call.parameters[1] : Tensor(); }
};

/// How layers of a kind are made: a row of the table in kinds.cpp. Null where there is no such kind.
struct LayerMaker {
  const char* name = nullptr;
  std::unique_ptr<Layer> (*make)(const LayerSpec& spec, const std::string& where) = nullptr;
};
LayerMaker find_maker(LayerKind kind);

/// Throws Error where the specification is not a layer; `where` names it.
std::unique_ptr<Layer> make_layer(const LayerSpec& spec, const std::string& where);

/// Throws Error where the inputs of a layer that takes two are not of one shape. `name` is its kind's.
void check_one_shape(const Tensor& x, const Tensor& other, const char* name);
/// Throws Error naming `what` where value < least.
void check_at_least(int64_t value, int64_t least, const char* what, const std::string& where);
/// Throws Error where kernel, stride, padding or dilation is none of a window that moves over an image.
void check_window(const LayerSpec& spec, const std::string& where);
/// Throws Error where x is no image, or too small for a window. `where` names the layer.
void check_image(const Tensor& x, const LayerSpec& spec, const std::string& where);
/// Windows along an image's rows (dimension 0) or columns (1) of this size.
int64_t window_count(int64_t size, const LayerSpec& spec, int dimension);

}  // namespace resnet_nodes
