// rectify.cpp: max(x, -o), o being the second input. Behind a branch b(o) it is the residual function of an ordinary
// block: o + max(b(o), -o) = relu(o + b(o)), with one rounding where that is positive and 0 elsewhere.
#include "layers/layer.h"
#include "tensors/relu.h"

namespace resnet_nodes {
namespace {

class Rectify final : public Layer {
 public:
  using Layer::Layer;
  bool output_is_fresh() const override { return true; }
  bool takes_two() const override { return true; }
  Reads reads() const override { return Reads::input; }
  bool reads_other() const override { return true; }
  Tensor forward(const Tensor& x, const LayerCall& call) const override {
    check_one_shape(x, *call.other, "rectify");
    return greater(x, scaled(*call.other, -1.0));
  }
  // x where x + o > 0, as relu has it.
  GradientTriple vjp(const Tensor& grad, const Tensor& x, const LayerCall& call,
                     const GradientMask& mask) const override {
    return {mask[0] ? relu_backward(grad, plus_scaled(x, *call.other, 1.0)) : Tensor(), Tensor(), Tensor()};
  }
  // -o elsewhere.
  Tensor other_gradient(const Tensor& grad, const Tensor& first) const override {
    return plus_scaled(first, grad, -1.0);
  }
};

}  // namespace

std::unique_ptr<Layer> make_rectify(const LayerSpec& spec, const std::string&) {
  return std::make_unique<Rectify>(spec);
}

}  // namespace resnet_nodes
