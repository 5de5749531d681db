#include "tensors/dispatcher.h"

#include <dlfcn.h>

#include <string>

#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

// From LibTorch 2.13 on the library tells the reason of a failure; before, it writes it only to standard error.
std::string last_reason() {
  using Reason = const char* (*)();
  static const auto reason =
      reinterpret_cast<Reason>(dlsym(RTLD_DEFAULT, "torch_exception_get_what_without_backtrace"));
  const char* text = reason != nullptr ? reason() : nullptr;
  if (text == nullptr) return "LibTorch's reason is on standard error";
  const std::string whole(text);
  return whole.substr(0, whole.find('\n'));
}

}  // namespace

void fail_operator(const char* name) { throw Error(std::string(name) + " failed: " + last_reason()); }

}  // namespace resnet_nodes
