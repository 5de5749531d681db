// dispatch.cpp: which kernel paths this processor can run, and the one in use.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/cuda_kernels.h"
#include "kernels/image_kernels.h"
#include "kernels/linear_kernels.h"
#include "kernels/step_kernels.h"

namespace resnet_nodes {

namespace portable {
extern const StepKernelPath path;
extern const ImageKernelPath image_path;
extern const LinearKernelPath linear_path;
}  // namespace portable
#if defined(__x86_64__)
namespace avx2 {
extern const StepKernelPath path;
extern const ImageKernelPath image_path;
extern const LinearKernelPath linear_path;
}  // namespace avx2
namespace avx512 {
extern const StepKernelPath path;
extern const ImageKernelPath image_path;
extern const LinearKernelPath linear_path;
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

// That of this name, where this processor can run it.
template <typename Path, size_t kCount>
const Path* path_of(const Path* const (&all)[kCount], const char* name) {
  for (const StepKernelPath* path : paths()) {
    if (std::strcmp(path->name, name) != 0) continue;
    for (const Path* one : all) {
      if (std::strcmp(one->name, name) == 0) return one;
    }
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
  return path_of(kPaths, name);
}

const LinearKernelPath* linear_kernel_path(const char* name) {
  static const LinearKernelPath* const kPaths[] = {
#if defined(__x86_64__)
    &avx512::linear_path,
    &avx2::linear_path,
#endif
    &portable::linear_path,
  };
  return path_of(kPaths, name);
}

#if !defined(RESNET_NODES_HAS_CUDA)
const CudaKernels* cuda_kernels() { return nullptr; }
#endif

const StepKernelPath* active_step_kernels() {
  static const StepKernelPath* const path = choose();
  return path;
}

}  // namespace resnet_nodes
