// relu.cpp: max(0, x). Its product needs only the sign of its output.
#include "tensors/relu.h"

#include "layers/layer.h"

namespace resnet_nodes {
namespace {

class Relu final : public Layer {
 public:
  using Layer::Layer;
  // The output carries the mask and is the next layer's input: it costs the tape nothing.
  Reads reads() const override { return Reads::output; }
  Tensor forward(const Tensor& x, const LayerCall&) const override { return relu(x); }
  GradientTriple vjp(const Tensor& grad, const Tensor& y, const LayerCall&, const GradientMask& mask) const override {
    return {mask[0] ? relu_backward(grad, y) : Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

std::unique_ptr<Layer> make_relu(const LayerSpec& spec, const std::string&) { return std::make_unique<Relu>(spec); }

}  // namespace resnet_nodes
