// activations.cpp: the layers without parameters.
#include "layer.h"

namespace resnet_nodes {
namespace {

class Relu final : public Layer {
 public:
  using Layer::Layer;
  Tensor forward(const Tensor& x, const LayerCall&, Tensor* saved) const override {
    const Tensor y = relu(x);
    // The output carries the mask and is the next layer's input: it costs the tape nothing.
    if (saved != nullptr) *saved = y;
    return y;
  }
  GradientTriple vjp(const Tensor& grad, const Tensor& saved, const LayerCall&,
                     const GradientMask& mask) const override {
    return {mask[0] ? relu_backward(grad, saved) : Tensor(), Tensor(), Tensor()};
  }
};

class Tanh final : public Layer {
 public:
  using Layer::Layer;
  Tensor forward(const Tensor& x, const LayerCall&, Tensor* saved) const override {
    const Tensor y = tanh(x);
    if (saved != nullptr) *saved = y;
    return y;
  }
  GradientTriple vjp(const Tensor& grad, const Tensor& saved, const LayerCall&,
                     const GradientMask& mask) const override {
    return {mask[0] ? tanh_backward(grad, saved) : Tensor(), Tensor(), Tensor()};
  }
};

class Gelu final : public Layer {
 public:
  using Layer::Layer;
  bool output_is_fresh() const override { return true; }
  Tensor forward(const Tensor& x, const LayerCall&, Tensor* saved) const override {
    if (saved != nullptr) *saved = x;
    return gelu(x, spec().tanh_approximation);
  }
  GradientTriple vjp(const Tensor& grad, const Tensor& saved, const LayerCall&,
                     const GradientMask& mask) const override {
    return {mask[0] ? gelu_backward(grad, saved, spec().tanh_approximation) : Tensor(), Tensor(), Tensor()};
  }
};

class Identity final : public Layer {
 public:
  using Layer::Layer;
  Tensor forward(const Tensor& x, const LayerCall&, Tensor*) const override { return x; }
  GradientTriple vjp(const Tensor& grad, const Tensor&, const LayerCall&, const GradientMask& mask) const override {
    return {mask[0] ? grad : Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

std::unique_ptr<Layer> make_relu(const LayerSpec& spec) { return std::make_unique<Relu>(spec); }
std::unique_ptr<Layer> make_tanh(const LayerSpec& spec) { return std::make_unique<Tanh>(spec); }
std::unique_ptr<Layer> make_gelu(const LayerSpec& spec) { return std::make_unique<Gelu>(spec); }
std::unique_ptr<Layer> make_identity(const LayerSpec& spec) { return std::make_unique<Identity>(spec); }

}  // namespace resnet_nodes
