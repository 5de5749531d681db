#include "tensors/describe.h"

namespace resnet_nodes {

using torch::headeronly::ScalarType;

std::string sizes_text(const std::vector<int64_t>& sizes) {
  std::string text = "[";
  for (size_t i = 0; i < sizes.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(sizes[i]);
  return text + "]";
}

std::string shape_text(const Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  return sizes_text({tensor.sizes().begin(), tensor.sizes().end()});
}

std::string dtype_text(const Tensor& tensor) {
  const ScalarType type = tensor.scalar_type();
  if (type == ScalarType::Float) return "float32";
  if (type == ScalarType::Double) return "float64";
  if (type == ScalarType::BFloat16) return "bfloat16";
  if (type == ScalarType::Half) return "float16";
  if (type == ScalarType::Long) return "int64";
  return "type " + std::to_string(static_cast<int>(type));
}

std::string device_text(const Tensor& tensor) {
  if (tensor.is_cpu()) return "cpu";
  return (tensor.is_cuda() ? "cuda:" : "device ") + std::to_string(static_cast<int>(tensor.get_device_index()));
}

std::string whole_text(const Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  return dtype_text(tensor) + " " + shape_text(tensor) + " on " + device_text(tensor);
}

bool is_floating(const Tensor& tensor) {
  const ScalarType type = tensor.scalar_type();
  return type == ScalarType::Float || type == ScalarType::Double || type == ScalarType::BFloat16 ||
         type == ScalarType::Half;
}

bool same_device(const Tensor& a, const Tensor& b) {
  return a.is_cpu() == b.is_cpu() && a.is_cuda() == b.is_cuda() && a.get_device_index() == b.get_device_index();
}

}  // namespace resnet_nodes
