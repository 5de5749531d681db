// conv_bfloat16.inl: the same loops where convolutions read, give and multiply bfloat16. Compiled for the kernel paths
// whose file states flags for it.
#include <immintrin.h>

#include "kernels/conv/conv_kernels.h"

namespace resnet_nodes::KERNEL_PATH {
namespace {

// Each needs those before it.
// clang-format off
#include "kernels/conv/vectors.inl"
#include "kernels/conv/numbers.inl"
#include "kernels/conv/numbers_bfloat16.inl"
#include "kernels/conv/group.inl"
#include "kernels/conv/transpose.inl"
// clang-format on

}  // namespace

extern const ConvKernels<BFloat16> conv16_bfloat16;
const ConvKernels<BFloat16> conv16_bfloat16 = kernels<16, BFloat16>(
    {transform_weights<16>, transform_sums<16>, transpose<16>, taps_to_lanes<16>, lanes_to_taps<16>},
    {pair_weights, pair_tiles});

}  // namespace resnet_nodes::KERNEL_PATH
