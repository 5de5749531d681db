// elementwise.h: small loops that LibTorch's stable ABI has no operator for. No LibTorch type in here.
#pragma once

#include <cstdint>

namespace resnet_nodes::kernels {

/// out = grad where output > 0, else 0: rectified linear units, by the sign of what came out.
void relu_backward(float* out, const float* grad, const float* output, int64_t count);
void relu_backward(double* out, const double* grad, const double* output, int64_t count);

}  // namespace resnet_nodes::kernels
