// runtime.h: what the library is and what it holds.
#pragma once

#include <torch/csrc/stable/tensor.h>

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
// The environment variable RESNET_NODES_FUSED, read when a stage is made: `off` evaluates its residual functions by
// LibTorch's operators alone; `on` or unset: fused where the layers are convolutions (1x1 or 3x3, a multiple of 8
// channels), each with its batch norm, ReLUs between and perhaps in front, or Linear, tanh or ReLU, Linear with a
// narrow middle, in float32 on the CPU. Stage::function_path says which it is.

/// Whether LibTorch may use oneDNN, its library of convolutions for CPUs, in this process. Not where the processor does
/// not say how large its caches are, as in some virtual machines on AMD's: oneDNN computes wrong convolutions there, or
/// ends the process. It is turned off when this library is loaded; convolutions by operators are slower then.
RESNET_NODES_API bool uses_onednn();

/// How often a tensor was changed in place, through whatever view of it (`_version` in PyTorch). Throws Error for an
/// inference tensor, whose changes nobody counts.
RESNET_NODES_API int64_t tensor_version(const torch::stable::Tensor& tensor);

/// Stages and contexts that are alive, for leak tests.
RESNET_NODES_API int64_t live_objects();

}  // namespace resnet_nodes
