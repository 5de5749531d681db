// runtime.h: what the library is and what it holds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "resnet_nodes/export.h"

namespace resnet_nodes {

/// The product's version, from the file VERSION.
RESNET_NODES_API std::string version();
/// Kernel paths of the fused steps that this machine can run, best first.
RESNET_NODES_API std::vector<std::string> kernel_paths();
/// The path in use: the best, or the one that the environment variable RESNET_NODES_KERNELS names. Throws Error where
/// that names none.
RESNET_NODES_API std::string active_kernel_path();
/// Stages and contexts that are alive, for leak tests.
RESNET_NODES_API int64_t live_objects();

}  // namespace resnet_nodes
