// linear_avx512.cpp: the loops of Linear functions for x86-64 with AVX-512 F, BW, DQ, VL.
#include "kernels/linear_kernels.h"

#define LINEAR_KERNEL_NAMESPACE avx512
#define LINEAR_KERNEL_NAME "avx512"
#include "kernels/linear.inl"
