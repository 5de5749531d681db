// version.cpp: how often a tensor was changed in place.
#include <dlfcn.h>

#include <exception>

#include "resnet_nodes/error.h"
#include "resnet_nodes/runtime.h"
#include "tensors/dispatcher.h"

namespace resnet_nodes {
namespace {

// A stage asks for the versions of all of its parameters twice in a training step, and the dispatcher, which looks the
// operator up by its name, takes a hundred times as long as the method itself (270 ns to 3 ns).
// at::TensorBase::_version is no part of the stable ABI: it is taken where LibTorch has it.
using Method = int64_t (*)(const void* tensor);
Method method() {
  static const auto found = reinterpret_cast<Method>(dlsym(RTLD_DEFAULT, "_ZNK2at10TensorBase8_versionEv"));
  return found;
}

}  // namespace

int64_t tensor_version(const Tensor& tensor) {
  if (!tensor.defined()) throw Error("tensor is undefined, expected one with a version");
  const Method direct = method();
  try {
    return direct != nullptr ? direct(tensor.get()) : call_for_number("aten::_version", "", tensor);
  } catch (const std::exception&) {
    throw Error("an inference tensor counts no changes in place; clone it outside of inference mode");
  }
}

}  // namespace resnet_nodes
