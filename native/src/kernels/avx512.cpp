// avx512.cpp: the fused steps for x86-64 with AVX-512 F, BW, DQ, VL.
#include "kernels/step_kernels.h"

#define STEP_KERNEL_NAMESPACE avx512
#define STEP_KERNEL_NAME "avx512"
#include "kernels/steps.inl"
