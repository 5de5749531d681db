// host.h: what the library asks of the process that it lives in, because LibTorch and TorchSharp offer no call for it.
// docs/architecture.md says what is changed for it, and what never is.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "resnet_nodes/export.h"

namespace resnet_nodes {

using torch::stable::Tensor;

/// From now on this thread's random numbers of the CPU come from another generator (an at::Generator*, which has to
/// live as long as it is in use), or from the process's own where it is null. Other threads are not concerned. Returns
/// false where draws can't be redirected, or were not while this thread's last generator was in use: what was drawn
/// then may have come from the process's generator. The thread's generator is changed in either case.
RESNET_NODES_API bool redirect_random_numbers(void* generator);

/// LibTorch's random numbers of a CUDA device, or of the current one where `device` is -1: an at::Generator*, which
/// lasts as long as the process. Throws Error where LibTorch has no CUDA.
RESNET_NODES_API void* cuda_generator(int32_t device);

/// Whether the backward pass that runs on this thread is a plain backward(), which adds to the gradient of every leaf:
/// not autograd.grad, nor a backward pass that names its inputs. true outside of a pass, or where LibTorch can't tell.
RESNET_NODES_API bool backward_accumulates();

/// Leaves an error for TorchSharp: the check that follows its running call on this thread throws it, with this text.
/// false, and nothing left, where TorchSharp is not loaded or its errors can't be given a text.
RESNET_NODES_API bool leave_torchsharp_error(const std::string& text);

/// The gradients of `inputs` from that of `output`, by autograd, captured: no tensor's own gradient changes, so that
/// other threads may add to those meanwhile. Undefined where the output does not depend on an input. The graph is used
/// up. Throws Error where autograd fails; TorchSharp's own call would end the process.
RESNET_NODES_API std::vector<Tensor> captured_gradients(const Tensor& output, const Tensor& cotangent,
                                                        const std::vector<Tensor>& inputs);

}  // namespace resnet_nodes
