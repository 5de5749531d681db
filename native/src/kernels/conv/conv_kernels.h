// conv_kernels.h: what a fused function of 3x3 convolutions does with one image while it is in the first-level cache:
// the convolutions and the loops between them. float32. No LibTorch type in here.
#pragma once

#include <cstdint>

#include "kernels/step_norms.h"

namespace resnet_nodes {

/// An image, in two layouts. Dense: [y][x][channel], a piece of a channels_last tensor. Bordered: [channel / lanes][y +
/// 1][x + 1][channel % lanes] with a border of zeros, one pixel wide and two behind an odd width or height, so that a
/// tile's 4x4 neighbourhood always exists and the distance of two pixels is known when the kernels are compiled.
/// Plain numbers: functions in here would be compiled for every instruction set, and the linker would keep one of them.
struct ConvShape {
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  int64_t lanes = 8;      ///< 8 or 16, a divisor of `channels`
  int64_t blocks = 0;     ///< channels / lanes
  int64_t row = 0;        ///< bordered: distance of two rows
  int64_t plane = 0;      ///< bordered: distance of two blocks
  int64_t tile_rows = 0;  ///< tiles of 2x2 pixels that cover the image
  int64_t tile_columns = 0;
  int64_t band_rows = 0;  ///< tile rows that a convolution transforms together
  int64_t position = 0;   ///< distance of two of a transformed tile's 16 positions
};

/// The loops for blocks of one number of lanes. Pointers to scales, shifts, means and sums hold `channels` numbers.
struct ConvKernels {
  /// Dense to bordered.
  void (*border)(float* bordered, const float* dense, const ConvShape& shape);
  /// bordered = max(0, scale x + shift).
  void (*affine_relu)(float* bordered, const float* x, const float* scale, const float* shift, const ConvShape& shape);
  /// out = base + bias + convolution of the bordered image with transformed weights; base and bias may be null, base
  /// may be out. Weights: [position][out / lanes][in / lanes][in % lanes][out % lanes]. Scratch: scratch_size numbers.
  void (*convolve)(float* out, const float* bordered, const float* weights, const float* bias, const float* base,
                   float* scratch, const ConvShape& shape);
  /// sums += what the convolution's output gradient means for its transformed weights; both images bordered.
  void (*weight_gradient)(float* sums, const float* input, const float* gradient, float* scratch,
                          const ConvShape& shape);
  /// One square of lanes x lanes weights, from [tap][in][out], `next` numbers from tap to tap, to the transformed ones.
  void (*transform_weights)(float* weights, const float* taps, int64_t next, const ConvShape& shape);
  /// One square of sums, from those of transformed weights to those of the taps.
  void (*transform_sums)(float* taps, int64_t next, const float* sums, const ConvShape& shape);
  /// Mean of each channel, and the sum of squared distances from it.
  void (*moments)(float* mean, float* squares, const float* x, const ConvShape& shape);
  /// out = base + scale x + shift; base may be null, and any may be out.
  void (*affine)(float* out, const float* base, const float* x, const float* scale, const float* shift,
                 const ConvShape& shape);
  /// f = scale x + shift, state = y - a f. `slope`, where not null, receives f.
  StepNorms (*correct)(float* state, float* slope, const float* y, const float* predicted, const float* x,
                       const float* scale, const float* shift, double a, const ConvShape& shape);
  /// Sums of g and of g (x - mean) over the image.
  void (*product_sums)(float* sum, float* product, const float* g, const float* x, const float* mean,
                       const ConvShape& shape);
  /// bordered = by_g g + by_x (x - mean) + shift, its sum added to `sum`.
  void (*norm_gradient)(float* bordered, float* sum, const float* g, const float* x, const float* mean,
                        const float* by_g, const float* by_x, const float* shift, const ConvShape& shape);
  /// g where the bordered activation is above 0, else 0, in place.
  void (*mask)(float* g, const float* activation, const ConvShape& shape);
};

}  // namespace resnet_nodes
