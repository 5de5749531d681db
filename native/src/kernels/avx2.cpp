// avx2.cpp: the fused steps for x86-64 with AVX2.
#include "kernels/step_kernels.h"

#define STEP_KERNEL_NAMESPACE avx2
#define STEP_KERNEL_NAME "avx2"
#include "kernels/steps.inl"
