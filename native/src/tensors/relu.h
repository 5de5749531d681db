// relu.h: the product of rectified linear units, a kernel of the steps' paths.
#pragma once

#include <torch/csrc/stable/tensor.h>

namespace resnet_nodes {

using torch::stable::Tensor;

/// grad where output > 0, else 0; of the layout of grad.
Tensor relu_backward(const Tensor& grad, const Tensor& output);

}  // namespace resnet_nodes
