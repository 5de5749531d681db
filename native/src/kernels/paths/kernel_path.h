// kernel_path.h: the loops as they are compiled for one instruction set, and which of these this process uses. No
// LibTorch type in here.
#pragma once

#include <vector>

#include "kernels/conv/conv_kernels.h"
#include "kernels/mlp/mlp_kernels.h"
#include "kernels/steps/step_kernels.h"

namespace resnet_nodes {

/// One compilation of all loops.
struct KernelPath {
  const char* name;
  const StepKernels<float>& float32;  ///< the fused steps
  const StepKernels<double>& float64;
  const ConvKernels<float>& conv8;  ///< the loops of convolutions, by the number of channels in a block
  const ConvKernels<float>& conv16;
  const MlpKernels& mlp;
  const ConvKernels<BFloat16>* conv16_bfloat16;  ///< nullptr where this processor has no instructions for it
};

/// Every path that was compiled, best first.
const std::vector<const KernelPath*>& compiled_kernel_paths();
/// Those that this processor can run, best first.
const std::vector<const KernelPath*>& runnable_kernel_paths();
/// The path in use: RESNET_NODES_KERNELS names one, else the best. nullptr where it names none that can run here.
const KernelPath* chosen_kernel_path();

}  // namespace resnet_nodes
