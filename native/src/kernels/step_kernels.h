// step_kernels.h: the fused steps, one pass over memory each, behind one interface. No LibTorch type in here.
#pragma once

#include <cstdint>

namespace resnet_nodes {

/// Sums of squares that a pass brings along, added in double over blocks of fixed size, so that they do not depend on
/// the number of threads.
struct StepNorms {
  double difference = 0;  ///< sum of (x~ - out)^2
  double reference = 0;   ///< sum of the squared increment
};

/// The same where they stay with the tensors, as doubles in this order: of x~ - out, of the increment, of y, of x~ - y.
enum MeasuredNorm { kDifference = 0, kReference = 1, kState = 2, kMoved = 3, kMeasuredNorms = 4 };

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
};

/// One kernel path: a compilation of the steps for one instruction set.
struct StepKernelPath {
  const char* name;
  StepKernels<float> float32;
  StepKernels<double> float64;
};

/// The paths that this processor can run, best first; `count` receives how many.
const StepKernelPath* const* step_kernel_paths(int64_t* count);
/// The path in use: RESNET_NODES_KERNELS names one, else the best. nullptr where it names none that can run here.
const StepKernelPath* active_step_kernels();

}  // namespace resnet_nodes
