// image_portable.cpp: the loops of one image for any processor.
#include "kernels/image_kernels.h"

#define IMAGE_KERNEL_NAMESPACE portable
#define IMAGE_KERNEL_NAME "portable"
#include "kernels/image.inl"
