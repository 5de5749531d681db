// linear.cpp: x W^T + b over the last dimension.
#include "layers/layer.h"
#include "resnet_nodes/error.h"
#include "tensors/describe.h"

namespace resnet_nodes {
namespace {

class Linear final : public WeightedLayer {
 public:
  using WeightedLayer::WeightedLayer;

  void check_input(const Tensor& x, const std::string& where) const override {
    if (x.dim() < 1 || x.size(x.dim() - 1) != spec().in_features) {
      throw Error(where + " (linear): input is " + shape_text(x) + ", expected [..., " +
                  std::to_string(spec().in_features) + "]");
    }
  }

  Reads reads() const override { return Reads::input; }

  std::vector<int64_t> output_sizes(const std::vector<int64_t>& x) const override {
    std::vector<int64_t> sizes = x;
    sizes.back() = spec().out_features;
    return sizes;
  }

  Tensor forward(const Tensor& x, const LayerCall& call) const override {
    return linear(x, call.parameters[0], bias(call));
  }

  GradientTriple vjp(const Tensor& grad, const Tensor& x, const LayerCall& call,
                     const GradientMask& mask) const override {
    return linear_backward(grad, x, call.parameters[0], mask);
  }

 protected:
  std::vector<int64_t> weight_sizes() const override { return {spec().out_features, spec().in_features}; }
};

}  // namespace

std::unique_ptr<Layer> make_linear(const LayerSpec& spec, const std::string& where) {
  check_at_least(spec.in_features, 1, "in_features", where);
  check_at_least(spec.out_features, 1, "out_features", where);
  return std::make_unique<Linear>(spec);
}

}  // namespace resnet_nodes
