#include "layers/layer.h"

#include "resnet_nodes/error.h"
#include "tensors/describe.h"
#include "tensors/layout.h"

namespace resnet_nodes {

std::vector<int64_t> Layer::parameter_sizes(int64_t) const { return {}; }

std::vector<int64_t> WeightedLayer::parameter_sizes(int64_t index) const {
  return index == 0 ? weight_sizes() : std::vector<int64_t>{spec().out_features};
}

void Layer::check_input(const Tensor&, const std::string&) const {}

void check_window(const LayerSpec& spec, const std::string& where) {
  check_at_least(spec.kernel_height, 1, "kernel_height", where);
  check_at_least(spec.kernel_width, 1, "kernel_width", where);
  check_at_least(spec.stride_height, 1, "stride_height", where);
  check_at_least(spec.stride_width, 1, "stride_width", where);
  check_at_least(spec.padding_height, 0, "padding_height", where);
  check_at_least(spec.padding_width, 0, "padding_width", where);
  check_at_least(spec.dilation_height, 1, "dilation_height", where);
  check_at_least(spec.dilation_width, 1, "dilation_width", where);
}

void check_image(const Tensor& x, const LayerSpec& spec, const std::string& where) {
  if (x.dim() != 4) throw Error(where + ": input is " + shape_text(x) + ", expected [B, C, H, W]");
  for (const int dimension : {0, 1}) {
    if (window_count(x.size(2 + dimension), spec, dimension) >= 1) continue;
    throw Error(where + ": input is " + shape_text(x) + ", smaller than the window");
  }
}

int64_t window_count(int64_t size, const LayerSpec& spec, int dimension) {
  const bool height = dimension == 0;
  const int64_t kernel = height ? spec.kernel_height : spec.kernel_width;
  const int64_t dilation = height ? spec.dilation_height : spec.dilation_width;
  const int64_t padding = height ? spec.padding_height : spec.padding_width;
  const int64_t room = size + 2 * padding - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / (height ? spec.stride_height : spec.stride_width) + 1;
}

void check_one_shape(const Tensor& x, const Tensor& other, const char* name) {
  if (!same_sizes(x, other)) {
    throw Error(std::string(name) + ": the inputs are " + shape_text(x) + " and " + shape_text(other) +
                ", expected two of one shape");
  }
}

void check_at_least(int64_t value, int64_t least, const char* what, const std::string& where) {
  if (value < least) {
    throw Error(where + ": " + what + " is " + std::to_string(value) + ", expected at least " + std::to_string(least));
  }
}

}  // namespace resnet_nodes
