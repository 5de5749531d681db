#include "device/device_guard.h"
#include "resnet_nodes/error.h"
#include "resnet_nodes/host.h"

namespace resnet_nodes {

void* cuda_generator(int32_t device) {
  // It returns a reference, and is found by its mangled name, which holds its argument.
  using Find = void* (*)(signed char device);
  static const auto find = reinterpret_cast<Find>(find_cuda_symbol("_ZN2at4cuda6detail23getDefaultCUDAGeneratorEa"));
  if (find == nullptr)
    throw Error("random numbers: no loaded library has CUDA's generator; LibTorch with CUDA is needed");
  return find(static_cast<signed char>(device));
}

}  // namespace resnet_nodes
