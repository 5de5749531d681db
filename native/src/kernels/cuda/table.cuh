// table.cuh: entries of the table of CUDA kernels that stand in files of their own.
#pragma once

#include "kernels/cuda/cuda_kernels.h"

namespace resnet_nodes::cuda {

const char* normalize(ElementType type, void* out, const void* x, const void* mean, const void* inverse_deviation,
                      const void* weight, const void* bias, bool wide_affine, bool relu, int64_t channels,
                      int64_t inner, int64_t count, void* stream);

}  // namespace resnet_nodes::cuda
