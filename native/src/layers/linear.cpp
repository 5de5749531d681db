// linear.cpp: x W^T + b over the last dimension.
#include "layers/layer.h"
#include "resnet_nodes/error.h"
#include "tensors/describe.h"

namespace resnet_nodes {
namespace {

class Linear final : public Layer {
 public:
  using Layer::Layer;

  int64_t parameter_count() const override { return spec().bias ? 2 : 1; }
  bool output_is_fresh() const override { return true; }
  bool parameters_follow_input() const override { return true; }

  std::vector<int64_t> parameter_sizes(int64_t index) const override {
    if (index == 1) return {spec().out_features};
    return {spec().out_features, spec().in_features};
  }

  void check_input(const Tensor& x, const std::string& where) const override {
    if (x.dim() < 1 || x.size(x.dim() - 1) != spec().in_features) {
      throw Error(where + " (linear): input is " + shape_text(x) + ", expected [..., " +
                  std::to_string(spec().in_features) + "]");
    }
  }

  Tensor forward(const Tensor& x, const LayerCall& call, Tensor* saved) const override {
    if (saved != nullptr) *saved = x;
    return linear(x, call.parameters[0], spec().bias ? call.parameters[1] : Tensor());
  }

  GradientTriple vjp(const Tensor& grad, const Tensor& saved, const LayerCall& call,
                     const GradientMask& mask) const override {
    return linear_backward(grad, saved, call.parameters[0], mask);
  }
};

}  // namespace

std::unique_ptr<Layer> make_linear(const LayerSpec& spec, const std::string& where) {
  check_at_least(spec.in_features, 1, "in_features", where);
  check_at_least(spec.out_features, 1, "out_features", where);
  return std::make_unique<Linear>(spec);
}

}  // namespace resnet_nodes
