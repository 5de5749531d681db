// flatten.cpp: every image as one row.
#include "layers/layer.h"
#include "tensors/dispatcher.h"
#include "tensors/layout.h"

namespace resnet_nodes {
namespace {

class Flatten final : public Layer {
 public:
  using Layer::Layer;
  // Of its shape.
  Reads reads() const override { return Reads::input; }
  std::vector<int64_t> output_sizes(const std::vector<int64_t>& x) const override {
    int64_t size = 1;
    for (size_t i = 1; i < x.size(); ++i) size *= x[i];
    return {x[0], size};
  }
  Tensor forward(const Tensor& x, const LayerCall&) const override {
    return call_operator<1>("aten::reshape", "", x, std::vector<int64_t>{x.size(0), -1})[0];
  }
  GradientTriple vjp(const Tensor& grad, const Tensor& x, const LayerCall&, const GradientMask& mask) const override {
    if (!mask[0]) return {};
    const std::vector<int64_t> sizes = sizes_of(x);
    return {call_operator<1>("aten::reshape", "", grad, sizes)[0], Tensor(), Tensor()};
  }
};

}  // namespace

std::unique_ptr<Layer> make_flatten(const LayerSpec& spec, const std::string&) {
  return std::make_unique<Flatten>(spec);
}

}  // namespace resnet_nodes
