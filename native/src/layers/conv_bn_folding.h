// conv_bn_folding.h: neighbouring layers in one, on the way back, where batch normalization's statistics are known.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include "resnet_nodes/layers.h"

namespace resnet_nodes {

using torch::stable::Tensor;

/// A batch normalization whose statistics are known: an affine map of each channel. All [C]; weight and bias may be
/// undefined, for 1 and 0.
struct KnownNorm {
  Tensor mean;
  Tensor invstd;
  Tensor weight;
  Tensor bias;
};

/// Whether a convolution's weights may take a normalization in: in float32, where that changes no more than rounding
/// does, and on the CPU, whose convolutions add a bias as they go. (Narrow weights would be rounded once more. On a GPU
/// `normalized` does in one pass what then were two, bias and ReLU, behind several small launches for the weights; and
/// weights that TF32 rounds after they were folded are others than the forward pass's.)
bool folds(const Tensor& x);
/// The normalization of a convolution, and max(0, .) of it where `relu`, as one convolution with other weights. `bias`
/// may be undefined.
Tensor folded_convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, const LayerSpec& shape,
                          const KnownNorm& norm, bool relu);

/// Whether `normalized` has a kernel for x.
bool normalizes_at_once(const Tensor& x, const KnownNorm& norm);
/// The normalization, and max(0, .) of it where `relu`, in one pass on the GPU. x is 4-dimensional and dense.
Tensor normalized(const Tensor& x, const KnownNorm& norm, bool relu);

}  // namespace resnet_nodes
