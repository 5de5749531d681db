#include "layers/layer.h"

#include "resnet_nodes/error.h"

namespace resnet_nodes {

std::vector<int64_t> Layer::parameter_sizes(int64_t) const { return {}; }

std::vector<int64_t> WeightedLayer::parameter_sizes(int64_t index) const {
  return index == 0 ? weight_sizes() : std::vector<int64_t>{spec().out_features};
}

void Layer::check_input(const Tensor&, const std::string&) const {}

void check_at_least(int64_t value, int64_t least, const char* what, const std::string& where) {
  if (value < least) {
    throw Error(where + ": " + what + " is " + std::to_string(value) + ", expected at least " + std::to_string(least));
  }
}

}  // namespace resnet_nodes
