// linear_avx2.cpp: the loops of Linear functions for x86-64 with AVX2 and FMA.
#include "kernels/linear_kernels.h"

#define LINEAR_KERNEL_NAMESPACE avx2
#define LINEAR_KERNEL_NAME "avx2"
#include "kernels/linear.inl"
