// kinds.cpp: the table of layers. A new kind is a case here; the compiler names the place where it is forgotten.
#include "layers/layer.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {

// One maker a kind, in the file of that kind; each checks its own fields.
std::unique_ptr<Layer> make_conv2d(const LayerSpec& spec, const std::string& where);
std::unique_ptr<Layer> make_linear(const LayerSpec& spec, const std::string& where);
std::unique_ptr<Layer> make_batch_norm2d(const LayerSpec& spec, const std::string& where);
std::unique_ptr<Layer> make_relu(const LayerSpec& spec, const std::string& where);
std::unique_ptr<Layer> make_tanh(const LayerSpec& spec, const std::string& where);
std::unique_ptr<Layer> make_gelu(const LayerSpec& spec, const std::string& where);
std::unique_ptr<Layer> make_identity(const LayerSpec& spec, const std::string& where);
std::unique_ptr<Layer> make_subsample(const LayerSpec& spec, const std::string& where);
std::unique_ptr<Layer> make_max_pool2d(const LayerSpec& spec, const std::string& where);
std::unique_ptr<Layer> make_avg_pool2d(const LayerSpec& spec, const std::string& where);
std::unique_ptr<Layer> make_global_avg_pool2d(const LayerSpec& spec, const std::string& where);
std::unique_ptr<Layer> make_flatten(const LayerSpec& spec, const std::string& where);
std::unique_ptr<Layer> make_add(const LayerSpec& spec, const std::string& where);
std::unique_ptr<Layer> make_rectify(const LayerSpec& spec, const std::string& where);

LayerMaker find_maker(LayerKind kind) {
  switch (kind) {
    case LayerKind::conv2d:
      return {"conv2d", make_conv2d};
    case LayerKind::linear:
      return {"linear", make_linear};
    case LayerKind::batch_norm2d:
      return {"batch_norm2d", make_batch_norm2d};
    case LayerKind::relu:
      return {"relu", make_relu};
    case LayerKind::tanh:
      return {"tanh", make_tanh};
    case LayerKind::gelu:
      return {"gelu", make_gelu};
    case LayerKind::identity:
      return {"identity", make_identity};
    case LayerKind::subsample:
      return {"subsample", make_subsample};
    case LayerKind::max_pool2d:
      return {"max_pool2d", make_max_pool2d};
    case LayerKind::avg_pool2d:
      return {"avg_pool2d", make_avg_pool2d};
    case LayerKind::global_avg_pool2d:
      return {"global_avg_pool2d", make_global_avg_pool2d};
    case LayerKind::flatten:
      return {"flatten", make_flatten};
    case LayerKind::add:
      return {"add", make_add};
    case LayerKind::rectify:
      return {"rectify", make_rectify};
  }
  return {};
}

std::unique_ptr<Layer> make_layer(const LayerSpec& spec, const std::string& where) {
  const LayerMaker maker = find_maker(spec.kind);
  if (maker.make == nullptr) {
    throw Error(where + ": layer kind " + std::to_string(static_cast<int>(spec.kind)) + " is unknown");
  }
  return maker.make(spec, where + " (" + maker.name + ")");
}

}  // namespace resnet_nodes
