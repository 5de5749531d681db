// cuda_launch.h: kernels on CUDA tensors, on the stream that LibTorch has current.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include "device/device_guard.h"
#include "kernels/cuda/cuda_kernels.h"

namespace resnet_nodes {

using torch::stable::Tensor;

/// The kernels for x; nullptr where x is not on CUDA or of another type, or where the library was built without them.
const CudaKernels* cuda_kernels_for(const Tensor& x);
/// The kernels' name of a floating type.
ElementType element_type(const Tensor& x);
/// Throws Error naming the kernel where `error` is not null.
void check_launch(const char* kernel, const char* error);

/// Calls body(type, stream) and throws Error, naming the kernel, where it returns the reason of a failure.
template <typename Body>
void launch(const char* kernel, const Tensor& x, const Body& body) {
  const DeviceGuard guard(x);
  check_launch(kernel, body(element_type(x), current_cuda_stream(x)));
}

}  // namespace resnet_nodes
