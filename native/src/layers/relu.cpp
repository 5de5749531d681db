// relu.cpp: max(0, x). Its product needs only the sign of its output.
#include "tensors/relu.h"

#include "layers/layer.h"

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

}  // namespace

std::unique_ptr<Layer> make_relu(const LayerSpec& spec, const std::string&) { return std::make_unique<Relu>(spec); }

}  // namespace resnet_nodes
