#include "resnet_nodes/runtime.h"

#include "stage/live_objects.h"
#include "tensors/active_kernels.h"

namespace resnet_nodes {

std::string version() { return RESNET_NODES_VERSION; }

std::vector<std::string> kernel_paths() {
  std::vector<std::string> names;
  for (const KernelPath* path : runnable_kernel_paths()) names.emplace_back(path->name);
  return names;
}

std::string active_kernel_path() { return active_kernels().name; }

int64_t live_objects() { return live_object_count; }

}  // namespace resnet_nodes
