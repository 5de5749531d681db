// cuda_kernels.h: the fused steps and loops of layers on the GPU, behind plain functions. No LibTorch and no CUDA type
// in here.
#pragma once

#include <cstdint>

#include "kernels/step_norms.h"

namespace resnet_nodes {

enum class ElementType { float32, float64, bfloat16, float16 };

/// Kernels for dense device memory of `count` elements of one type, of any alignment; `out` may be any of the inputs.
/// Narrow types are computed in float32. `stream` is a cudaStream_t. All launch and return at once: nullptr, or the
/// reason why a launch failed.
struct CudaKernels {
  /// out = x + a f.
  const char* (*add_scaled)(ElementType type, void* out, const void* x, const void* f, double a, int64_t count,
                            void* stream);
  /// out = x + a (f + g).
  const char* (*add_scaled_sum)(ElementType type, void* out, const void* x, const void* f, const void* g, double a,
                                int64_t count, void* stream);
  /// out = y - a (c[0] f[0] + ... + c[terms - 1] f[terms - 1]), terms = 1 ... 3.
  const char* (*extrapolate)(ElementType type, void* out, const void* y, const void* const* f, const double* c,
                             int64_t terms, double a, int64_t count, void* stream);
  /// out = y - a f; norms (MeasuredNorm, doubles on the device): of predicted - out, of a f, of out. `scratch`:
  /// `scratch_doubles` of them on the device. The same bits on every device and in every run: the partition is fixed.
  const char* (*correct)(ElementType type, void* out, const void* y, const void* f, const void* predicted, double a,
                         int64_t count, double* norms, double* scratch, void* stream);
  /// norms (as above): of x - reference, of reference, of reference.
  const char* (*distance)(ElementType type, const void* x, const void* reference, int64_t count, double* norms,
                          double* scratch, void* stream);
  int64_t scratch_doubles;
  /// out = grad where output > 0, else 0.
  const char* (*relu_backward)(ElementType type, void* out, const void* grad, const void* output, int64_t count,
                               void* stream);
  /// out = (x - mean) inverse_deviation weight + bias with one number of each a channel; then max(0, .) where `relu`.
  /// Element i is of channel i / inner % channels. Statistics are float64 for float64 and float32 otherwise; weight and
  /// bias are of their type where `wide_affine`, else of x's, or nullptr for 1 and 0.
  const char* (*normalize)(ElementType type, void* out, const void* x, const void* mean, const void* inverse_deviation,
                           const void* weight, const void* bias, bool wide_affine, bool relu, int64_t channels,
                           int64_t inner, int64_t count, void* stream);
};

/// nullptr where the library was built without a CUDA compiler.
const CudaKernels* cuda_kernels();

}  // namespace resnet_nodes
