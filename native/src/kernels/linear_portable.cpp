// linear_portable.cpp: the loops of Linear functions for any processor.
#include "kernels/linear_kernels.h"

#define LINEAR_KERNEL_NAMESPACE portable
#define LINEAR_KERNEL_NAME "portable"
#include "kernels/linear.inl"
