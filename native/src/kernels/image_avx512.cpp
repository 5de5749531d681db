// image_avx512.cpp: the loops of one image for x86-64 with AVX-512 F, BW, DQ, VL.
#include "kernels/image_kernels.h"

#define IMAGE_KERNEL_NAMESPACE avx512
#define IMAGE_KERNEL_NAME "avx512"
#include "kernels/image.inl"
