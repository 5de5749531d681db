// conv2d.cpp: convolution, padded with zeros.
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

  Reads reads() const override { return Reads::input; }

  std::vector<int64_t> output_sizes(const std::vector<int64_t>& x) const override {
    return {x[0], spec().out_features, window_count(x[2], spec(), 0), window_count(x[3], spec(), 1)};
  }

  Tensor forward(const Tensor& x, const LayerCall& call) const override {
    if (!is_pointwise()) return convolution(x, call.parameters[0], bias(call), spec());
    return convolution(subsampled(x, spec()), call.parameters[0], bias(call), unit_stride());
  }

  GradientTriple vjp(const Tensor& grad, const Tensor& x, const LayerCall& call,
                     const GradientMask& mask) const override {
    if (!is_pointwise()) return convolution_backward(grad, x, call.parameters[0], spec(), mask, call.weight_sum);
    GradientTriple gradients =
        convolution_backward(grad, subsampled(x, spec()), call.parameters[0], unit_stride(), mask, call.weight_sum);
    if (mask[0]) gradients[0] = subsampled_backward(gradients[0], x, spec());
    return gradients;
  }

 protected:
  std::vector<int64_t> weight_sizes() const override {
    return {spec().out_features, spec().in_features / spec().groups, spec().kernel_height, spec().kernel_width};
  }

 private:
  // With a stride such a convolution reads some pixels alone. Its own weight gradient writes past its memory in
  // LibTorch 2.10 (oneDNN, AVX-512, channels_last) where the channels do not fill a register.
  bool is_pointwise() const {
    const LayerSpec& s = spec();
    return s.kernel_height == 1 && s.kernel_width == 1 && s.padding_height == 0 && s.padding_width == 0 &&
           (s.stride_height > 1 || s.stride_width > 1);
  }
  LayerSpec unit_stride() const {
    LayerSpec shape = spec();
    shape.stride_height = shape.stride_width = 1;
    return shape;
  }
};

}  // namespace

std::unique_ptr<Layer> make_conv2d(const LayerSpec& spec, const std::string& where) {
  check_at_least(spec.in_features, 1, "in_features", where);
  check_at_least(spec.out_features, 1, "out_features", where);
  check_window(spec, where);
  check_at_least(spec.groups, 1, "groups", where);
  if (spec.in_features % spec.groups != 0 || spec.out_features % spec.groups != 0) {
    throw Error(where + ": groups is " + std::to_string(spec.groups) + ", expected a divisor of in_features " +
                std::to_string(spec.in_features) + " and of out_features " + std::to_string(spec.out_features));
  }
  return std::make_unique<Conv2d>(spec);
}

}  // namespace resnet_nodes
