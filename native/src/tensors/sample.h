// sample.h: a few elements of a state, by which it is known again.
#pragma once

#include <torch/csrc/stable/tensor.h>

namespace resnet_nodes {

using torch::stable::Tensor;

/// At most 256 elements of x, in a tensor of one dimension: of as many images (rows of the first dimension) as that
/// allows, spread evenly over the other dimensions. The same places in all tensors of a shape, whatever their layout.
Tensor sampled(const Tensor& x);

}  // namespace resnet_nodes
