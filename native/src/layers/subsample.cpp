// subsample.cpp: every stride-th row and column, as a shortcut takes them.
#include "layers/layer.h"

namespace resnet_nodes {
namespace {

class Subsample final : public Layer {
 public:
  using Layer::Layer;
  bool output_is_fresh() const override { return true; }
  void check_input(const Tensor& x, const std::string& where) const override {
    check_image(x, spec(), where + " (subsample)");
  }
  // Of its shape.
  Reads reads() const override { return Reads::input; }
  std::vector<int64_t> output_sizes(const std::vector<int64_t>& x) const override {
    return {x[0], x[1], window_count(x[2], spec(), 0), window_count(x[3], spec(), 1)};
  }
  Tensor forward(const Tensor& x, const LayerCall&) const override { return subsampled(x, spec()); }
  GradientTriple vjp(const Tensor& grad, const Tensor& x, const LayerCall&, const GradientMask& mask) const override {
    return {mask[0] ? subsampled_backward(grad, x, spec()) : Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

std::unique_ptr<Layer> make_subsample(const LayerSpec& spec, const std::string& where) {
  check_window(spec, where);
  return std::make_unique<Subsample>(spec);
}

}  // namespace resnet_nodes
