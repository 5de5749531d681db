#include "fused/workspaces.h"

#include <mutex>

namespace resnet_nodes {

std::shared_ptr<Workspaces> shared_workspaces() {
  static std::mutex mutex;
  static std::weak_ptr<Workspaces> shared;
  const std::lock_guard lock(mutex);
  std::shared_ptr<Workspaces> workspaces = shared.lock();
  if (workspaces == nullptr) {
    workspaces = std::make_shared<Workspaces>();
    shared = workspaces;
  }
  return workspaces;
}

}  // namespace resnet_nodes
