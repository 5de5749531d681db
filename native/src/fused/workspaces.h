// workspaces.h: the memory that fused functions work in, from pass to pass.
#pragma once

#include <memory>

#include "fused/conv_workspace.h"
#include "fused/memory.h"
#include "fused/mlp_workspace.h"

namespace resnet_nodes {

/// One pool for each kind of fused function. Calls may come from any thread.
struct Workspaces {
  WorkspacePool<ConvWorkspace> conv;
  WorkspacePool<MlpWorkspace> mlp;
};

/// Those of all stages that are alive: stages work one after the other, and take what the largest needs, not the sum.
std::shared_ptr<Workspaces> shared_workspaces();

}  // namespace resnet_nodes
