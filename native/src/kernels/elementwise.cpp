#include "kernels/elementwise.h"

namespace resnet_nodes::kernels {
namespace {

// Bound by memory: what the compiler makes of the plain loop is as fast as the memory is.
template <typename T>
void relu_backward_loop(T* out, const T* grad, const T* output, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = output[i] > 0 ? grad[i] : T(0);
}

}  // namespace

void relu_backward(float* out, const float* grad, const float* output, int64_t count) {
  relu_backward_loop(out, grad, output, count);
}

void relu_backward(double* out, const double* grad, const double* output, int64_t count) {
  relu_backward_loop(out, grad, output, count);
}

}  // namespace resnet_nodes::kernels
