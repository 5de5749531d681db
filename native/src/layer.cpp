#include "layer.h"

#include "resnet_nodes/error.h"

namespace resnet_nodes {

std::vector<int64_t> Layer::parameter_sizes(int64_t) const { return {}; }

void Layer::check_input(const Tensor&, const std::string&) const {}

void check_at_least(int64_t value, int64_t least, const char* what, const std::string& where) {
  if (value < least) {
    throw Error(where + ": " + what + " is " + std::to_string(value) + ", expected at least " + std::to_string(least));
  }
}

std::unique_ptr<Layer> make_layer(const LayerSpec& spec, const std::string& where) {
  switch (spec.kind) {
    case LayerKind::conv2d:
      return make_conv2d(spec, where + " (conv2d)");
    case LayerKind::linear:
      return make_linear(spec, where + " (linear)");
    case LayerKind::batch_norm2d:
      return make_batch_norm2d(spec, where + " (batch_norm2d)");
    case LayerKind::relu:
      return make_relu(spec);
    case LayerKind::tanh:
      return make_tanh(spec);
    case LayerKind::gelu:
      return make_gelu(spec);
    case LayerKind::identity:
      return make_identity(spec);
  }
  throw Error(where + ": layer kind " + std::to_string(static_cast<int>(spec.kind)) + " is unknown");
}

}  // namespace resnet_nodes
