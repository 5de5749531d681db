#include "tensors/active_kernels.h"

#include <cstdlib>
#include <string>

#include "resnet_nodes/error.h"

namespace resnet_nodes {

const KernelPath& active_kernels() {
  if (const KernelPath* path = chosen_kernel_path()) return *path;
  std::string names;
  for (const KernelPath* path : runnable_kernel_paths()) names += (names.empty() ? "" : ", ") + std::string(path->name);
  const char* wanted = std::getenv("RESNET_NODES_KERNELS");
  throw Error(std::string("RESNET_NODES_KERNELS is ") + (wanted != nullptr ? wanted : "unset") +
              ", expected one of the paths that this machine can run: " + names);
}

}  // namespace resnet_nodes
