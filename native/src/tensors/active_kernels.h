// active_kernels.h: the kernel path in use, for those that run its loops.
#pragma once

#include "kernels/paths/kernel_path.h"

namespace resnet_nodes {

/// Throws Error where RESNET_NODES_KERNELS names no path that this machine can run.
const KernelPath& active_kernels();

}  // namespace resnet_nodes
