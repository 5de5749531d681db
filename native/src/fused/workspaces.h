// workspaces.h: the memory that a stage's fused functions work in, from pass to pass.
#pragma once

#include "fused/conv_workspace.h"
#include "fused/memory.h"
#include "fused/mlp_workspace.h"

namespace resnet_nodes {

/// One pool for each kind of fused function. Calls may come from any thread.
struct Workspaces {
  WorkspacePool<ConvWorkspace> conv;
  WorkspacePool<MlpWorkspace> mlp;
};

}  // namespace resnet_nodes
