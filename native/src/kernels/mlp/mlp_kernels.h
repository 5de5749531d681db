// mlp_kernels.h: what a fused function Linear - activation - Linear does with a few rows of the state while they are
// in the cache. float32. No LibTorch type in here.
#pragma once

#include <cstdint>

#include "kernels/step_norms.h"

namespace resnet_nodes {

/// Rows of `width` numbers, dense, and beside each one `hidden` numbers between the two layers, in rows of `columns`.
/// Weights and their sums lie as [columns][pitch]: those of the layer on the way in as it has them, those of the layer
/// on the way out transposed; what stands behind `hidden` has no effect.
struct MlpShape {
  int64_t width = 0;  ///< at least 16
  int64_t hidden = 0;
  int64_t columns = 0;  ///< the next multiple of 4
  int64_t pitch = 0;    ///< at least the next multiple of 16 after `width`
};

/// Which activation; an index into the loops below.
enum MlpActivation { kTanh = 0, kRelu = 1, kMlpActivations = 2 };

/// Loops over `rows` rows.
struct MlpKernels {
  int64_t lanes;  ///< floats in a register
  /// out [rows][columns] = x W^T + bias [columns]; bias may be null.
  void (*dots)(float* out, const float* x, const float* weights, const float* bias, int64_t rows,
               const MlpShape& shape);
  /// out = base + a (hidden W + bias [width]); base and bias may be null. `out` overlaps nothing that is read.
  void (*combine)(float* out, const float* base, const float* hidden, const float* weights, const float* bias, double a,
                  int64_t rows, const MlpShape& shape);
  /// f = hidden W + bias, state = y - a f. `slope`, where not null, receives f. The sums of squares of predicted -
  /// state and of a f.
  StepNorms (*correct)(float* state, float* slope, const float* y, const float* predicted, const float* hidden,
                       const float* weights, const float* bias, double a, int64_t rows, const MlpShape& shape);
  /// sums [columns][pitch] += hidden^T x, total [pitch] += the sum of x's rows where it is not null. Both in the
  /// kernels' own order of a row: whole registers one after the other, and behind them the one that ends with the row.
  void (*outer)(float* sums, float* total, const float* hidden, const float* x, int64_t rows, const MlpShape& shape);
  /// values = activation of them.
  void (*activate[kMlpActivations])(float* values, int64_t count);
  /// gradient = a gradient (the activation's derivative where it gave `output`). Counts are multiples of 4.
  void (*differentiate[kMlpActivations])(float* gradient, const float* output, double a, int64_t count);
  /// sums [columns] += the sum of rows of `columns` numbers.
  void (*add_rows)(float* sums, const float* rows_of_columns, int64_t rows, const MlpShape& shape);
};

}  // namespace resnet_nodes
