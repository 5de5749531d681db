// portable.cpp: the fused steps for any processor.
#include "kernels/step_kernels.h"

#define STEP_KERNEL_NAMESPACE portable
#define STEP_KERNEL_NAME "portable"
#include "kernels/steps.inl"
