// conv_kernels.h: what a fused function of convolutions does with a group of images: the convolutions and the loops
// between them. States, sums and gradients between units are float32; what convolutions read and give, and what they
// multiply, is float32 or bfloat16. No LibTorch type in here.
#pragma once

#include <cstdint>

#include "kernels/conv/tiles.h"
#include "kernels/step_norms.h"

namespace resnet_nodes {

/// The upper half of a float32.
struct BFloat16 {
  uint16_t bits = 0;
};

/// Numbers of this type that are multiplied to a lane, of 32 bits, at a time.
template <typename Number>
constexpr int64_t kDepth = sizeof(float) / sizeof(Number);

/// One tensor of a group of images, in two layouts. Dense: [image][y][x][channel], a piece of a channels_last tensor.
/// Blocked: [channel / lanes][image][y][x][channel % lanes]; what a 3x3 convolution reads has a border of zeros around
/// each image, one pixel wide and more behind a width or height that no tiles fill, so that what a tile reads always
/// exists.
/// Plain numbers: functions in here would be compiled for every instruction set, and the linker would keep one of them.
struct ConvShape {
  int64_t images = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  int64_t lanes = 8;         ///< 8 or 16, a divisor of `channels`
  bool is_bordered = false;  ///< else the pixels of all images follow one another
  int64_t row = 0;           ///< bordered: distance of two rows
  int64_t plane = 0;         ///< bordered: distance of two images
  int64_t block = 0;         ///< blocked: distance of two blocks of channels
};

/// One convolution of a group. By Winograd's F(2x2, 3x3) or F(4x4, 3x3), with 16 or 36 positions, where its input is
/// bordered; else by itself: 1x1, one position, a tile a pixel.
struct ConvPass {
  ConvShape in;
  ConvShape out;
  int64_t out_pixel = 0;  ///< distance of two pixels of the dense output, of which `out` may be some channels
  int64_t positions = 1;
  TileGrid grid;        ///< Winograd: tiles of 2x2 or 4x4 pixels
  int64_t band = 0;     ///< tile rows, or pixels, that are multiplied together
  TileShape inputs;     ///< Winograd: of a band
  TileShape outputs;    ///< likewise
  int64_t weights = 0;  ///< distance of two positions
};

/// The products of one weight gradient: sums over tiles of an input's and an output gradient's.
struct SumShape {
  TileCounts tiles;
  int64_t positions = 1;
  int64_t in = 0;        ///< channels
  int64_t out = 0;       ///< channels
  int64_t position = 0;  ///< distance of two
  TileShape inputs;
  TileShape gradients;
};

/// The loops that reorder weights and their gradients, which are float32.
struct ConvLayouts {
  /// From nine taps, `tap` numbers apart, to 16 or 36 positions, `position` numbers apart: `count` weights at a time.
  /// A negative `tap` mirrors them.
  void (*transform_weights)(float* weights, int64_t position, const float* taps, int64_t tap, int64_t count,
                            int64_t positions);
  /// From sums for as many positions to those of nine taps, likewise.
  void (*transform_sums)(float* taps, int64_t tap, const float* sums, int64_t position, int64_t count,
                         int64_t positions);
  /// to[column][lane] = from[lane][column], whose lanes are `row` numbers apart; columns: a multiple of the lanes.
  void (*transpose)(float* to, const float* from, int64_t row, int64_t columns);
  /// From [lane][tap], nine taps, to [tap][lane], 16 taps of which nine count; and back, from taps `tap` numbers apart.
  void (*taps_to_lanes)(float* to, const float* row);
  void (*lanes_to_taps)(float* to, const float* taps, int64_t tap);
};

/// What exists only where numbers are multiplied in pairs: two to a lane at a time.
template <typename Number>
struct PairKernels {
  /// A square of weights, [in][out]: pairs of input channels to each lane.
  void (*weights)(Number* to, const float* square);
  /// Tiles in the order of a weight gradient; behind an odd number of them stands a zero.
  void (*tiles)(Number* to, const TileShape& to_shape, const Number* from, const TileShape& from_shape,
                int64_t positions, int64_t blocks, int64_t tiles);
};

/// The loops for blocks of one number of lanes. Pointers to scales, shifts, means and sums hold `channels` numbers.
template <typename Number>
struct ConvKernels {
  ConvLayouts layouts;
  /// nullptr for both where numbers are multiplied one by one.
  PairKernels<Number> pairs;
  /// Dense to blocked, numbers below `floor` raised to it: 0 is a ReLU, minus infinity a copy.
  void (*block)(Number* blocked, const float* dense, float floor, const ConvShape& shape);
  /// blocked = max(0, scale x + shift).
  void (*affine_relu)(Number* blocked, const Number* x, const float* scale, const float* shift, const ConvShape& shape);
  /// out = bias + convolution of the blocked images with packed weights, dense; bias may be null. Weights:
  /// [position][out / lanes][in][out % lanes]; in pairs: [position][out / lanes][in / 2][out % lanes][in % 2]. Scratch:
  /// inputs' and outputs' tiles, Winograd only.
  void (*convolve)(Number* out, const Number* blocked, const Number* weights, const float* bias, float* scratch,
                   const ConvPass& pass);
  /// The same for a gradient: out = base + convolution; base may be null, and may be out.
  void (*convolve_back)(float* out, const Number* blocked, const Number* weights, const float* base, float* scratch,
                        const ConvPass& pass);
  /// The transformed tiles of a bordered convolution's input, and of its output's gradient.
  void (*input_tiles)(Number* tiles, const Number* bordered, TileRows rows, const TileShape& to, const ConvPass& pass);
  void (*gradient_tiles)(Number* tiles, const Number* bordered, TileRows rows, const TileShape& to,
                         const ConvPass& pass);
  /// sums = or += the products of these tiles. Sums: [position][in / lanes][out][in % lanes].
  void (*sum_products)(float* sums, const Number* inputs, const Number* gradients, bool add, const SumShape& shape);
  /// Mean of each channel, and the sum of squared distances from it.
  void (*moments)(float* mean, float* squares, const Number* x, const ConvShape& shape);
  /// out = base + scale x + shift; base may be null.
  void (*affine)(float* out, const float* base, const Number* x, const float* scale, const float* shift,
                 const ConvShape& shape);
  /// f = scale x + shift, state = y - a f. `slope`, where not null, receives f.
  StepNorms (*correct)(float* state, float* slope, const float* y, const float* predicted, const Number* x,
                       const float* scale, const float* shift, double a, const ConvShape& shape);
  /// Sums of g and of g (x - mean) over the group.
  void (*product_sums)(float* sum, float* product, const float* g, const Number* x, const float* mean,
                       const ConvShape& shape);
  /// blocked = by_g g + by_x (x - mean) + shift, its sum added to `sum`.
  void (*norm_gradient)(Number* blocked, float* sum, const float* g, const Number* x, const float* mean,
                        const float* by_g, const float* by_x, const float* shift, const ConvShape& shape);
  /// out = base + g where the blocked activation is above 0, else base; base may be null, and out may be g.
  void (*mask)(float* out, const float* base, const float* g, const Number* activation, const ConvShape& shape);
};

}  // namespace resnet_nodes
