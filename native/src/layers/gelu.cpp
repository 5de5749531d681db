// gelu.cpp: the Gaussian error linear unit, exact or with its approximation by tanh.
#include "layers/layer.h"
#include "tensors/dispatcher.h"

namespace resnet_nodes {
namespace {

class Gelu final : public Layer {
 public:
  using Layer::Layer;
  bool output_is_fresh() const override { return true; }
  Reads reads() const override { return Reads::input; }
  Tensor forward(const Tensor& x, const LayerCall&) const override {
    return call_operator<1>("aten::gelu", "", x, approximation())[0];
  }
  GradientTriple vjp(const Tensor& grad, const Tensor& x, const LayerCall&, const GradientMask& mask) const override {
    if (!mask[0]) return {};
    return {call_operator<1>("aten::gelu_backward", "", grad, x, approximation())[0], Tensor(), Tensor()};
  }

 private:
  const std::string& approximation() const {
    static const std::string tanh = "tanh", none = "none";
    return spec().tanh_approximation ? tanh : none;
  }
};

}  // namespace

std::unique_ptr<Layer> make_gelu(const LayerSpec& spec, const std::string&) { return std::make_unique<Gelu>(spec); }

}  // namespace resnet_nodes
