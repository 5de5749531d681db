// host.h: what the library asks of the process that it lives in, because LibTorch and TorchSharp offer no call for it.
// docs/architecture.md says what is changed for it, and what never is.
#pragma once

#include <string>

#include "resnet_nodes/export.h"

namespace resnet_nodes {

/// From now on this thread's random numbers of the CPU come from another generator (an at::Generator*, which has to
/// live as long as it is in use), or from the process's own where it is null. Other threads are not concerned. Returns
/// false where draws can't be redirected, or were not while this thread's last generator was in use: what was drawn
/// then may have come from the process's generator. The thread's generator is changed in either case.
RESNET_NODES_API bool redirect_random_numbers(void* generator);

/// Whether the backward pass that runs on this thread is a plain backward(), which adds to the gradient of every leaf:
/// not autograd.grad, nor a backward pass that names its inputs. true outside of a pass, or where LibTorch can't tell.
RESNET_NODES_API bool backward_accumulates();

/// Leaves an error for TorchSharp: the check that follows its running call on this thread throws it, with this text.
/// false, and nothing left, where TorchSharp is not loaded or its errors can't be given a text.
RESNET_NODES_API bool leave_torchsharp_error(const std::string& text);

}  // namespace resnet_nodes
