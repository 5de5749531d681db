// image_avx2.cpp: the loops of one image for x86-64 with AVX2 and FMA.
#include "kernels/image_kernels.h"

#define IMAGE_KERNEL_NAMESPACE avx2
#define IMAGE_KERNEL_NAME "avx2"
#include "kernels/image.inl"
