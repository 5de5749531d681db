// conv.inl: the loops of a group of images in float32. Compiled once for each kernel path, as steps.inl is. It includes
// nothing with inline functions.
#include "kernels/conv/conv_kernels.h"

namespace resnet_nodes::KERNEL_PATH {
namespace {

// Each needs those before it.
// clang-format off
#include "kernels/conv/vectors.inl"
#include "kernels/conv/numbers.inl"
#include "kernels/conv/group.inl"
#include "kernels/conv/transpose.inl"
// clang-format on

template <int64_t kLanes>
constexpr ConvKernels<float> float32() {
  return kernels<kLanes, float>({transform_weights<kLanes>, transform_sums<kLanes>, transpose<kLanes>,
                                 taps_to_lanes<kLanes>, lanes_to_taps<kLanes>},
                                {nullptr, nullptr});
}

}  // namespace

extern const ConvKernels<float> conv8;
extern const ConvKernels<float> conv16;
const ConvKernels<float> conv8 = float32<8>();
const ConvKernels<float> conv16 = float32<16>();

}  // namespace resnet_nodes::KERNEL_PATH
