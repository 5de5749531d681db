// device_guard.h: LibTorch's current CUDA device and stream. Its functions for them live only in its CUDA library and
// are looked up at run time, so that one binary serves all builds of LibTorch.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace resnet_nodes {

using torch::stable::Tensor;

/// Makes x's device the current one while it lives. Does nothing on the CPU.
class DeviceGuard {
 public:
  explicit DeviceGuard(const Tensor& x);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  void* guard_ = nullptr;
};

/// A stream of a device beside the default one: of LibTorch's pool, so that others may be given it too.
void* side_cuda_stream(int32_t device);

/// Makes such a stream the current one of its device while it lives.
class SideStreamGuard {
 public:
  SideStreamGuard(void* stream, int32_t device);
  ~SideStreamGuard();
  SideStreamGuard(const SideStreamGuard&) = delete;
  SideStreamGuard& operator=(const SideStreamGuard&) = delete;

 private:
  void* guard_ = nullptr;
};

/// The cudaStream_t that LibTorch has current on the device of x, a CUDA tensor.
void* current_cuda_stream(const Tensor& x);

/// The address of what LibTorch's CUDA library exports by this name; nullptr where no loaded library has it.
void* find_cuda_symbol(const char* name);

}  // namespace resnet_nodes
