// dispatch.cpp: which kernel paths this processor can run, and the one in use.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/cuda_kernels.h"
#include "kernels/image_kernels.h"
#include "kernels/step_kernels.h"

namespace resnet_nodes {

namespace portable {
extern const StepKernelPath path;
extern const ImageKernelPath image_path;
}  // namespace portable
#if defined(__x86_64__)
namespace avx2 {
extern const StepKernelPath path;
extern const ImageKernelPath image_path;
}  // namespace avx2
namespace avx512 {
extern const StepKernelPath path;
extern const ImageKernelPath image_path;
}  // namespace avx512
#endif

namespace {

std::vector<const StepKernelPath*> find_paths() {
  std::vector<const StepKernelPath*> paths;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    paths.push_back(&avx512::path);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) paths.push_back(&avx2::path);
#endif
  paths.push_back(&portable::path);
  return paths;
}

const std::vector<const StepKernelPath*>& paths() {
  static const std::vector<const StepKernelPath*> found = find_paths();
  return found;
}

const StepKernelPath* choose() {
  const char* wanted = std::getenv("RESNET_NODES_KERNELS");
  if (wanted == nullptr || *wanted == '\0') return paths().front();
  for (const StepKernelPath* path : paths()) {
    if (std::strcmp(path->name, wanted) == 0) return path;
  }
  return nullptr;
}

}  // namespace

const StepKernelPath* const* step_kernel_paths(int64_t* count) {
  *count = static_cast<int64_t>(paths().size());
  return paths().data();
}

const ImageKernelPath* image_kernel_path(const char* name) {
  static const ImageKernelPath* const kPaths[] = {
#if defined(__x86_64__)
    &avx512::image_path,
    &avx2::image_path,
#endif
    &portable::image_path,
  };
  for (const StepKernelPath* path : paths()) {
    if (std::strcmp(path->name, name) != 0) continue;
    for (const ImageKernelPath* image : kPaths) {
      if (std::strcmp(image->name, name) == 0) return image;
    }
  }
  return nullptr;
}

#if !defined(RESNET_NODES_HAS_CUDA)
const CudaKernels* cuda_kernels() { return nullptr; }
#endif

const StepKernelPath* active_step_kernels() {
  static const StepKernelPath* const path = choose();
  return path;
}

}  // namespace resnet_nodes
