#include "device/cuda_launch.h"

#include <string>

#include "resnet_nodes/error.h"

namespace resnet_nodes {

using torch::headeronly::ScalarType;

const CudaKernels* cuda_kernels_for(const Tensor& x) {
  if (!x.is_cuda()) return nullptr;
  const ScalarType type = x.scalar_type();
  const bool floating = type == ScalarType::Float || type == ScalarType::Double || type == ScalarType::BFloat16 ||
                        type == ScalarType::Half;
  return floating ? cuda_kernels() : nullptr;
}

ElementType element_type(const Tensor& x) {
  switch (x.scalar_type()) {
    case ScalarType::Float:
      return ElementType::float32;
    case ScalarType::Double:
      return ElementType::float64;
    case ScalarType::BFloat16:
      return ElementType::bfloat16;
    default:
      return ElementType::float16;
  }
}

void check_launch(const char* kernel, const char* error) {
  if (error == nullptr) return;
  throw Error(std::string("CUDA kernel ") + kernel + " failed: " + error);
}

}  // namespace resnet_nodes
