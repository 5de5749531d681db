#include "host/onednn.h"

#include <dlfcn.h>

#include "resnet_nodes/error.h"
#include "resnet_nodes/runtime.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace resnet_nodes {
namespace {

enum class OneDnn { on, off, wrong };

constexpr uint32_t kCaches = 0x8000001D;

#if defined(__x86_64__)
std::array<uint32_t, 4> cpuid_here(uint32_t leaf, uint32_t subleaf) {
  std::array<uint32_t, 4> values{};
  __get_cpuid_count(leaf, subleaf, &values[0], &values[1], &values[2], &values[3]);
  return values;
}

bool has_right_onednn() { return tells_onednn_its_caches(cpuid_here); }
#else
bool has_right_onednn() { return true; }
#endif

// Of at::Context, which is not in the stable ABI: looked up by their mangled names.
bool turn_off(const char* setter) {
  static const auto context = reinterpret_cast<void* (*)()>(dlsym(RTLD_DEFAULT, "_ZN2at13globalContextEv"));
  const auto enable = reinterpret_cast<void (*)(void*, bool)>(dlsym(RTLD_DEFAULT, setter));
  if (context == nullptr || enable == nullptr) return false;
  enable(context(), false);
  return true;
}

// When the library is loaded: before any convolution of its own, and as early as it can be for those of others.
const OneDnn state = [] {
  if (has_right_onednn()) return OneDnn::on;
  // LibTorch's next choice, which such a processor does not have either, and of which LibTorch complains at every call.
  turn_off("_ZN2at7Context20setUserEnabledNNPACKEb");
  return turn_off("_ZN2at7Context20setUserEnabledMkldnnEb") ? OneDnn::off : OneDnn::wrong;
}();

}  // namespace

bool tells_onednn_its_caches(const Cpuid& cpuid) {
  const auto [most, b, c, d] = cpuid(0, 0);
  static_cast<void>(most);
  const bool amd = b == 0x68747541 && d == 0x69746E65 && c == 0x444D4163;  // "AuthenticAMD"
  // The five lowest bits are the kind of the cache: 0 is none.
  return !amd || (cpuid(0x80000000, 0)[0] >= kCaches && (cpuid(kCaches, 0)[0] & 0x1F) != 0);
}

void require_right_convolutions() {
  if (state != OneDnn::wrong) return;
  throw Error(
      "LibTorch's convolutions are wrong here: the processor does not say how large its caches are, and this LibTorch "
      "can't do without oneDNN; start the program with ONEDNN_MAX_CPU_ISA=AVX, or take LibTorch 2.10");
}

bool uses_onednn() { return state == OneDnn::on; }

}  // namespace resnet_nodes
