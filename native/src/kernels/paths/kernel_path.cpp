#include "kernels/paths/kernel_path.h"

#include <cstdlib>
#include <cstring>

namespace resnet_nodes {

// What the path's objects define.
#define KERNEL_PATH(name, runs, bfloat16)             \
  namespace name {                                    \
  extern const StepKernels<float> steps_float32;      \
  extern const StepKernels<double> steps_float64;     \
  extern const ConvKernels<float> conv8;              \
  extern const ConvKernels<float> conv16;             \
  extern const ConvKernels<BFloat16> conv16_bfloat16; \
  extern const MlpKernels mlp;                        \
  }
#include "kernels/paths/list.inl"
#undef KERNEL_PATH

namespace {

struct Entry {
  KernelPath path;
  bool (*runs)();
};

#define RUNS(feature) (__builtin_cpu_supports(feature) != 0)
#define KERNEL_PATH(name, runs, bfloat16)                                                             \
  {{#name, name::steps_float32, name::steps_float64, name::conv8, name::conv16, name::mlp, bfloat16}, \
   [] { return runs; }},
const Entry kEntries[] = {
#include "kernels/paths/list.inl"
};
#undef KERNEL_PATH
#undef RUNS

template <typename Wanted>
std::vector<const KernelPath*> paths_where(const Wanted& wanted) {
  std::vector<const KernelPath*> paths;
  for (const Entry& entry : kEntries) {
    if (wanted(entry)) paths.push_back(&entry.path);
  }
  return paths;
}

const KernelPath* choose() {
  const char* wanted = std::getenv("RESNET_NODES_KERNELS");
  if (wanted == nullptr || *wanted == '\0') return runnable_kernel_paths().front();
  for (const KernelPath* path : runnable_kernel_paths()) {
    if (std::strcmp(path->name, wanted) == 0) return path;
  }
  return nullptr;
}

}  // namespace

const std::vector<const KernelPath*>& compiled_kernel_paths() {
  static const std::vector<const KernelPath*> paths = paths_where([](const Entry&) { return true; });
  return paths;
}

const std::vector<const KernelPath*>& runnable_kernel_paths() {
  static const std::vector<const KernelPath*> paths = paths_where([](const Entry& entry) { return entry.runs(); });
  return paths;
}

const KernelPath* chosen_kernel_path() {
  static const KernelPath* const path = choose();
  return path;
}

}  // namespace resnet_nodes
