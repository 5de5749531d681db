// step_kernels.h: the fused steps, one pass over memory each, behind one interface. No LibTorch type in here.
#pragma once

#include <cstdint>

#include "kernels/step_norms.h"

namespace resnet_nodes {

/// The steps for one element type on contiguous memory of `count` elements. `out` may be any of the inputs.
template <typename T>
struct StepKernels {
  /// out = x + a f: Euler's step (a = h), its reverse and the fixed point (a = -h), Heun's predictor.
  void (*add_scaled)(T* out, const T* x, const T* f, double a, int64_t count);
  /// out = x + a (f + g): Heun's combination.
  void (*add_scaled_sum)(T* out, const T* x, const T* f, const T* g, double a, int64_t count);
  /// out = y - a f, with sum (x~ - out)^2 and sum (a f)^2 in the same pass: the corrected update and its residual.
  StepNorms (*correct)(T* out, const T* y, const T* f, const T* predicted, double a, int64_t count);
  /// out = y - a (c[0] f[0] + ... + c[terms - 1] f[terms - 1]), terms = 1 ... 3: extrapolation.
  void (*extrapolate)(T* out, const T* y, const T* const* f, const double* c, int64_t terms, double a, int64_t count);
  /// sum (x - reference)^2 and sum reference^2.
  StepNorms (*distance)(const T* x, const T* reference, int64_t count);
  /// out = grad where output > 0, else 0: rectified linear units, by the sign of what came out.
  void (*relu_backward)(T* out, const T* grad, const T* output, int64_t count);
  /// For each channel of `pixels` pixels, all channels of one next to each other: sums[c] = sum g and sums[channels +
  /// c] = sum g (x - mean[c]).
  void (*channel_sums)(double* sums, const T* g, const T* x, const T* mean, int64_t channels, int64_t pixels);
  /// out = a[c] g + b[c] (x - mean[c]) + d[c] there.
  void (*channel_affine)(T* out, const T* g, const T* x, const T* mean, const T* a, const T* b, const T* d,
                         int64_t channels, int64_t pixels);
};

}  // namespace resnet_nodes
