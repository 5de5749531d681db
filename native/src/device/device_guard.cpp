#include "device/device_guard.h"

#include <dlfcn.h>

#include <string>

#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

// As LibTorch's shim.h declares them where it is built for CUDA.
using GetStream = int32_t (*)(int32_t device, void** stream);
using CreateGuard = int32_t (*)(int32_t device, void** guard);
using DeleteGuard = int32_t (*)(void* guard);
using GetPoolStream = int32_t (*)(bool high_priority, int32_t device, void** stream);
using CreateStreamGuard = int32_t (*)(void* stream, int32_t device, void** guard);

template <typename Function>
Function function(const char* name) {
  void* symbol = find_cuda_symbol(name);
  if (symbol == nullptr) {
    throw Error(std::string("x is a CUDA tensor, but no loaded library has ") + name +
                "; LibTorch 2.10 or later with CUDA is needed");
  }
  return reinterpret_cast<Function>(symbol);
}

void check(int32_t status, const char* what, int32_t device) {
  if (status != 0) throw Error(std::string(what) + " of cuda:" + std::to_string(device) + " could not be obtained");
}

}  // namespace

void* find_cuda_symbol(const char* name) {
  if (void* symbol = dlsym(RTLD_DEFAULT, name)) return symbol;
  // Loaded by a runtime that keeps symbols to itself, as Python and .NET do.
  static void* const library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
  return library != nullptr ? dlsym(library, name) : nullptr;
}

DeviceGuard::DeviceGuard(const Tensor& x) {
  if (!x.defined() || !x.is_cuda()) return;
  static const auto create = function<CreateGuard>("aoti_torch_create_cuda_guard");
  check(create(x.get_device_index(), &guard_), "the guard", x.get_device_index());
}

DeviceGuard::~DeviceGuard() {
  if (guard_ == nullptr) return;
  static const auto release = function<DeleteGuard>("aoti_torch_delete_cuda_guard");
  release(guard_);
}

void* side_cuda_stream(int32_t device) {
  static const auto get = function<GetPoolStream>("torch_get_cuda_stream_from_pool");
  void* stream = nullptr;
  check(get(false, device, &stream), "a stream", device);
  return stream;
}

SideStreamGuard::SideStreamGuard(void* stream, int32_t device) {
  static const auto create = function<CreateStreamGuard>("aoti_torch_create_cuda_stream_guard");
  check(create(stream, device, &guard_), "the stream's guard", device);
}

SideStreamGuard::~SideStreamGuard() {
  static const auto release = function<DeleteGuard>("aoti_torch_delete_cuda_stream_guard");
  release(guard_);
}

void* current_cuda_stream(const Tensor& x) {
  static const auto get = function<GetStream>("aoti_torch_get_current_cuda_stream");
  void* stream = nullptr;
  check(get(x.get_device_index(), &stream), "the current stream", x.get_device_index());
  return stream;
}

}  // namespace resnet_nodes
