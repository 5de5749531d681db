// no_cuda.cpp: in place of the CUDA kernels where they are not compiled.
#include "kernels/cuda/cuda_kernels.h"

namespace resnet_nodes {

const CudaKernels* cuda_kernels() { return nullptr; }

}  // namespace resnet_nodes
