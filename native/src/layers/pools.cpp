// pools.cpp: the largest or the mean value of each window of an image, or the mean of all.
#include <torch/csrc/stable/ops.h>

#include "layers/layer.h"
#include "resnet_nodes/error.h"
#include "tensors/describe.h"
#include "tensors/dispatcher.h"
#include "tensors/layout.h"

namespace resnet_nodes {
namespace {

// What the three have in common.
class Pool : public Layer {
 public:
  using Layer::Layer;
  bool output_is_fresh() const override { return true; }
  Reads reads() const override { return Reads::input; }
  void check_input(const Tensor& x, const std::string& where) const override {
    check_image(x, spec(), where + " (pooling)");
  }
  std::vector<int64_t> output_sizes(const std::vector<int64_t>& x) const override {
    return {x[0], x[1], window_count(x[2], spec(), 0), window_count(x[3], spec(), 1)};
  }

 protected:
  std::vector<int64_t> kernel() const { return {spec().kernel_height, spec().kernel_width}; }
  std::vector<int64_t> stride() const { return {spec().stride_height, spec().stride_width}; }
  std::vector<int64_t> padding() const { return {spec().padding_height, spec().padding_width}; }
  std::vector<int64_t> dilation() const { return {spec().dilation_height, spec().dilation_width}; }
};

class MaxPool2d final : public Pool {
 public:
  using Pool::Pool;
  Tensor forward(const Tensor& x, const LayerCall&) const override { return largest(x)[0]; }
  // Where the largest values are is found again: eight bytes a value would have to be kept.
  GradientTriple vjp(const Tensor& grad, const Tensor& x, const LayerCall&, const GradientMask& mask) const override {
    if (!mask[0]) return {};
    return {call_operator<1>("aten::max_pool2d_with_indices_backward", "", grad, x, kernel(), stride(), padding(),
                             dilation(), false, largest(x)[1])[0],
            Tensor(), Tensor()};
  }

 private:
  std::array<Tensor, 2> largest(const Tensor& x) const {
    return call_operator<2>("aten::max_pool2d_with_indices", "", x, kernel(), stride(), padding(), dilation(), false);
  }
};

class AvgPool2d final : public Pool {
 public:
  using Pool::Pool;
  Tensor forward(const Tensor& x, const LayerCall&) const override {
    return call_operator<1>("aten::avg_pool2d", "", x, kernel(), stride(), padding(), false, true,
                            std::optional<int64_t>())[0];
  }
  GradientTriple vjp(const Tensor& grad, const Tensor& x, const LayerCall&, const GradientMask& mask) const override {
    if (!mask[0]) return {};
    if (!x.is_cuda() || (spec().padding_height == 0 && spec().padding_width == 0)) {
      return {backward(grad, x), Tensor(), Tensor()};
    }
    // With padding LibTorch's CUDA kernel for channels_last takes the wrong windows (PyTorch's issue 188344), and gives
    // no error. Of x it reads nothing but sizes and layout.
    const std::vector<int64_t> sizes = sizes_of(x);
    const Tensor result = backward(torch::stable::contiguous(grad), torch::stable::new_empty(x, sizes));
    return {state_layout(result), Tensor(), Tensor()};
  }

 private:
  Tensor backward(const Tensor& grad, const Tensor& x) const {
    return call_operator<1>("aten::avg_pool2d_backward", "", grad, x, kernel(), stride(), padding(), false, true,
                            std::optional<int64_t>())[0];
  }
};

class GlobalAvgPool2d final : public Pool {
 public:
  using Pool::Pool;
  std::vector<int64_t> output_sizes(const std::vector<int64_t>& x) const override { return {x[0], x[1], 1, 1}; }
  Tensor forward(const Tensor& x, const LayerCall&) const override {
    return call_operator<1>("aten::_adaptive_avg_pool2d", "", x, std::vector<int64_t>{1, 1})[0];
  }
  GradientTriple vjp(const Tensor& grad, const Tensor& x, const LayerCall&, const GradientMask& mask) const override {
    if (!mask[0]) return {};
    return {call_operator<1>("aten::_adaptive_avg_pool2d_backward", "", grad, x)[0], Tensor(), Tensor()};
  }
};

// Operators refuse more: the padding would be whole windows.
void check_padding(const LayerSpec& spec, const std::string& where) {
  if (2 * spec.padding_height <= spec.kernel_height && 2 * spec.padding_width <= spec.kernel_width) return;
  throw Error(where + ": padding is " + std::to_string(spec.padding_height) + "x" + std::to_string(spec.padding_width) +
              ", expected at most half of the window");
}

}  // namespace

std::unique_ptr<Layer> make_max_pool2d(const LayerSpec& spec, const std::string& where) {
  check_window(spec, where);
  check_padding(spec, where);
  return std::make_unique<MaxPool2d>(spec);
}

std::unique_ptr<Layer> make_avg_pool2d(const LayerSpec& spec, const std::string& where) {
  check_window(spec, where);
  check_padding(spec, where);
  return std::make_unique<AvgPool2d>(spec);
}

std::unique_ptr<Layer> make_global_avg_pool2d(const LayerSpec& spec, const std::string&) {
  return std::make_unique<GlobalAvgPool2d>(spec);
}

}  // namespace resnet_nodes
