#include "resnet_nodes/runtime.h"

#include <cstdlib>

#include "kernels/step_kernels.h"
#include "live_objects.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {

std::string version() { return RESNET_NODES_VERSION; }

std::vector<std::string> kernel_paths() {
  int64_t count = 0;
  const StepKernelPath* const* paths = step_kernel_paths(&count);
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) names.emplace_back(paths[i]->name);
  return names;
}

std::string active_kernel_path() {
  const StepKernelPath* path = active_step_kernels();
  if (path != nullptr) return path->name;
  std::string names;
  for (const std::string& name : kernel_paths()) names += (names.empty() ? "" : ", ") + name;
  const char* wanted = std::getenv("RESNET_NODES_KERNELS");
  throw Error(std::string("RESNET_NODES_KERNELS is ") + (wanted != nullptr ? wanted : "unset") +
              ", expected one of the paths that this machine can run: " + names);
}

int64_t live_objects() { return live_object_count; }

}  // namespace resnet_nodes
