// conv2d.cpp: convolution with stride 1, as a function that keeps its input's shape needs it.
#include "layers/layer.h"
#include "resnet_nodes/error.h"
#include "tensors/describe.h"

namespace resnet_nodes {
namespace {

class Conv2d final : public WeightedLayer {
 public:
  using WeightedLayer::WeightedLayer;

  void check_input(const Tensor& x, const std::string& where) const override {
    if (x.dim() != 4 || x.size(1) != spec().in_features) {
      throw Error(where + " (conv2d): input is " + shape_text(x) + ", expected [B, " +
                  std::to_string(spec().in_features) + ", H, W]");
    }
  }

  Tensor forward(const Tensor& x, const LayerCall& call, Tensor* saved) const override {
    if (saved != nullptr) *saved = x;
    return convolution(x, call.parameters[0], bias(call), spec());
  }

  GradientTriple vjp(const Tensor& grad, const Tensor& saved, const LayerCall& call,
                     const GradientMask& mask) const override {
    return convolution_backward(grad, saved, call.parameters[0], spec(), mask);
  }

 protected:
  std::vector<int64_t> weight_sizes() const override {
    return {spec().out_features, spec().in_features / spec().groups, spec().kernel_height, spec().kernel_width};
  }
};

}  // namespace

std::unique_ptr<Layer> make_conv2d(const LayerSpec& spec, const std::string& where) {
  check_at_least(spec.in_features, 1, "in_features", where);
  check_at_least(spec.out_features, 1, "out_features", where);
  check_at_least(spec.kernel_height, 1, "kernel_height", where);
  check_at_least(spec.kernel_width, 1, "kernel_width", where);
  check_at_least(spec.padding_height, 0, "padding_height", where);
  check_at_least(spec.padding_width, 0, "padding_width", where);
  check_at_least(spec.dilation_height, 1, "dilation_height", where);
  check_at_least(spec.dilation_width, 1, "dilation_width", where);
  check_at_least(spec.groups, 1, "groups", where);
  if (spec.in_features % spec.groups != 0 || spec.out_features % spec.groups != 0) {
    throw Error(where + ": groups is " + std::to_string(spec.groups) + ", expected a divisor of in_features " +
                std::to_string(spec.in_features) + " and of out_features " + std::to_string(spec.out_features));
  }
  return std::make_unique<Conv2d>(spec);
}

}  // namespace resnet_nodes
