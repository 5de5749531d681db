// products.inl: the products of tiles and weights, where nearly all of a convolution's arithmetic is, and the
// convolutions made of them. Part of conv.inl.
#include "kernels/conv/winograd.inl"

// For one position: put(b, t, v, sum over input channels of tiles and weights). Distances: of the inputs' blocks and of
// the weights' blocks.
template <int64_t kLanes, int64_t kBlocks, int64_t kTiles, typename Number, typename Put>
[[gnu::always_inline]] inline void multiply_tiles(const Number* inputs, int64_t block, const Number* weights,
                                                  int64_t channels, const Put& put) {
  constexpr int64_t kVectors = Block<kLanes>::kVectors, kWidth = Block<kLanes>::kWidth, kStep = kDepth<Number>;
  const int64_t next_weights = channels * kLanes;
  Vector<kLanes> sums[kBlocks][kTiles][kVectors] = {};
  for (int64_t in = 0; in < channels; in += kLanes, inputs += block) {
    const Number* x = inputs;
    for (int64_t c = 0; c < kLanes; c += kStep, x += kStep, weights += kStep * kLanes) {
      decltype(operand<kLanes>(weights)) w[kBlocks][kVectors];
#pragma GCC unroll 4
      for (int64_t b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 4
        for (int64_t v = 0; v < kVectors; ++v) {
          w[b][v] = operand<kLanes>(weights + b * next_weights + v * kStep * kWidth);
        }
      }
#pragma GCC unroll 32
      for (int64_t t = 0; t < kTiles; ++t) {
        const auto factor = common_operand<kLanes>(x + t * kLanes);
#pragma GCC unroll 4
        for (int64_t b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 4
          for (int64_t v = 0; v < kVectors; ++v) add_product<kLanes>(sums[b][t][v], w[b][v], factor);
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int64_t b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 32
    for (int64_t t = 0; t < kTiles; ++t) {
#pragma GCC unroll 4
      for (int64_t v = 0; v < kVectors; ++v) put(b, t, v * kWidth, sums[b][t][v]);
    }
  }
}

// Where products go: to tiles again, or as pixels to a dense image.
struct ToTiles {
  float* products;
  int64_t block;

  template <int64_t kLanes>
  auto at_tile(int64_t tile) const {
    return [to = products + tile * kLanes, next = block](int64_t b, int64_t t, int64_t lane, Vector<kLanes> sum) {
      at<kLanes>(to + b * next + t * kLanes + lane) = sum;
    };
  }
};
template <typename Out>
struct ToPixels {
  Out* out;
  const float* bias;
  const float* base;
  int64_t pixel;  // distance of two

  template <int64_t kLanes>
  auto at_tile(int64_t tile) const {
    return [to = *this, first = tile * pixel](int64_t b, int64_t t, int64_t lane, Vector<kLanes> sum) {
      const int64_t channel = b * kLanes + lane, place = first + t * to.pixel + channel;
      if (to.bias != nullptr) sum += at<kLanes>(to.bias + channel);
      if (to.base != nullptr) sum += at<kLanes>(to.base + place);
      put_numbers<kLanes>(to.out + place, sum);
    };
  }
};

// The kernel of this many tiles.
template <int64_t kLanes, int64_t kBlocks, int64_t kTiles, typename Number, typename Put>
void multiply_some(int64_t tiles, const Number* inputs, int64_t block, const Number* weights, int64_t channels,
                   const Put& put) {
  if (tiles == kTiles) {
    multiply_tiles<kLanes, kBlocks, kTiles>(inputs, block, weights, channels, put);
  } else if constexpr (kTiles > 1) {
    multiply_some<kLanes, kBlocks, kTiles - 1>(tiles, inputs, block, weights, channels, put);
  }
}

// All tiles of one position and kBlocks blocks of output channels, in groups of nearly equal size: a small one would
// leave multipliers waiting.
template <int64_t kLanes, int64_t kBlocks, typename Number, typename To>
void multiply(const Number* inputs, int64_t block, const Number* weights, int64_t tiles, int64_t channels,
              const To& to) {
  constexpr int64_t kMost = kBlocks == 1 ? Block<kLanes>::kTiles : Block<kLanes>::kTilesOfPairs;
  const int64_t groups = (tiles + kMost - 1) / kMost;
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t begin = group * tiles / groups, count = (group + 1) * tiles / groups - begin;
    multiply_some<kLanes, kBlocks, kMost>(count, inputs + begin * kLanes, block, weights, channels,
                                          to.template at_tile<kLanes>(begin));
  }
}

// Output blocks in pairs where registers hold two: body.operator()<kBlocks>(first of them).
template <int64_t kLanes, typename Body>
void for_output_blocks(int64_t blocks, const Body& body) {
  int64_t block = 0;
  if constexpr (Block<kLanes>::kTilesOfPairs > 1) {
    for (; block + 2 <= blocks; block += 2) body.template operator()<2>(block);
  }
  for (; block < blocks; ++block) body.template operator()<1>(block);
}

// out = base + bias + convolution.
template <int64_t kLanes, typename Number, typename Out>
void convolve_to(Out* out, const Number* blocked, const Number* weights, const float* bias, const float* base,
                 float* scratch, const ConvPass& pass) {
  const int64_t in = pass.in.channels, square = in * kLanes;  // weights of one block of outputs at one position
  const int64_t blocks = pass.out.channels / kLanes;
  if (!pass.in.is_bordered) {
    const int64_t pixels = pass.in.images * pass.in.height * pass.in.width, pixel = pass.out_pixel;
    for (int64_t first = 0; first < pixels; first += pass.band) {
      const int64_t count = pixels - first < pass.band ? pixels - first : pass.band;
      for_output_blocks<kLanes>(blocks, [&]<int64_t kBlocks>(int64_t block) {
        const int64_t place = first * pixel + block * kLanes;
        const ToPixels<Out> to{out + place, bias != nullptr ? bias + block * kLanes : nullptr,
                               base != nullptr ? base + place : nullptr, pixel};
        multiply<kLanes, kBlocks>(blocked + first * kLanes, pass.in.block, weights + block * square, count, in, to);
      });
    }
    return;
  }
  // One block goes in its own place.
  const bool in_place = kDepth<Number> == 1 && blocks == 1 && in == kLanes;
  auto* inputs = reinterpret_cast<Number*>(scratch);
  float* products = in_place ? scratch : scratch + pass.positions * pass.inputs.position;
  const int64_t rows = pass.in.images * pass.grid.rows;
  for (int64_t first = 0; first < rows; first += pass.band) {
    const TileRows band{first, rows - first < pass.band ? rows - first : pass.band};
    const TileCounts tiles = count_tiles(pass.grid, band.first, band.count);
    input_tiles<kLanes>(inputs, blocked, band, pass.inputs, pass);
    for (int64_t p = 0; p < pass.positions; ++p) {
      const Number* of_position = weights + p * pass.weights;
      for_output_blocks<kLanes>(blocks, [&]<int64_t kBlocks>(int64_t block) {
        const ToTiles to{products + p * pass.outputs.position + block * pass.outputs.block, pass.outputs.block};
        multiply<kLanes, kBlocks>(inputs + p * pass.inputs.position, pass.inputs.block, of_position + block * square,
                                  tiles_at(tiles, p, pass.positions), in, to);
      });
    }
    with_tile<Number>(pass.positions,
                      [&]<int64_t kTile>() { transform_output<kLanes, kTile>(out, products, bias, base, band, pass); });
  }
}

template <int64_t kLanes, typename Number>
void convolve(Number* out, const Number* blocked, const Number* weights, const float* bias, float* scratch,
              const ConvPass& pass) {
  convolve_to<kLanes>(out, blocked, weights, bias, nullptr, scratch, pass);
}

template <int64_t kLanes, typename Number>
void convolve_back(float* out, const Number* blocked, const Number* weights, const float* base, float* scratch,
                   const ConvPass& pass) {
  convolve_to<kLanes>(out, blocked, weights, nullptr, base, scratch, pass);
}

// sums[kBlocks][kOutputs] = or += the products over all tiles of one position, which stay in registers. Distances: of
// the inputs' blocks and of the sums' blocks.
template <int64_t kLanes, int64_t kBlocks, int64_t kOutputs, typename Number>
void add_products(float* sums, int64_t next_sums, const Number* inputs, int64_t block, const Number* gradients,
                  int64_t tiles, bool add) {
  constexpr int64_t kVectors = Block<kLanes>::kVectors, kWidth = Block<kLanes>::kWidth, kStep = kDepth<Number>;
  Vector<kLanes> total[kBlocks][kOutputs][kVectors] = {};
  const auto for_sums = [&](const auto& body) {
#pragma GCC unroll 4
    for (int64_t b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 16
      for (int64_t c = 0; c < kOutputs; ++c) {
#pragma GCC unroll 4
        for (int64_t v = 0; v < kVectors; ++v) {
          body(at<kLanes>(sums + b * next_sums + c * kLanes + v * kWidth), total[b][c][v]);
        }
      }
    }
  };
  if (add) for_sums([](const Vector<kLanes>& memory, Vector<kLanes>& value) { value = memory; });
  for (int64_t t = 0; t < tiles; t += kStep, inputs += kStep * kLanes, gradients += kStep * kLanes) {
    decltype(operand<kLanes>(inputs)) x[kBlocks][kVectors];
#pragma GCC unroll 4
    for (int64_t b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 4
      for (int64_t v = 0; v < kVectors; ++v) {
        x[b][v] = operand<kLanes>(inputs + b * block + v * kStep * kWidth);
      }
    }
#pragma GCC unroll 16
    for (int64_t c = 0; c < kOutputs; ++c) {
      const auto factor = common_operand<kLanes>(gradients + c * kStep);
#pragma GCC unroll 4
      for (int64_t b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 4
        for (int64_t v = 0; v < kVectors; ++v) add_product<kLanes>(total[b][c][v], x[b][v], factor);
      }
    }
  }
  for_sums([](Vector<kLanes>& memory, const Vector<kLanes>& value) { memory = value; });
}

template <int64_t kLanes, typename Number>
void sum_products(float* sums, const Number* inputs, const Number* gradients, bool add, const SumShape& shape) {
  constexpr int64_t kOutputs = Block<kLanes>::kOutputs, kOutputsOfPairs = Block<kLanes>::kOutputsOfPairs;
  const int64_t square = shape.out * kLanes;
  for (int64_t p = 0; p < shape.positions; ++p) {
    const Number *x = inputs + p * shape.inputs.position, *g = gradients + p * shape.gradients.position;
    float* to = sums + p * shape.position;
    const int64_t tiles = tiles_at(shape.tiles, p, shape.positions);
    const auto all_outputs = [&]<int64_t kBlocks, int64_t kSome>(int64_t block) {
      for (int64_t c = 0; c < shape.out; c += kSome) {
        const Number* of_output = g + c / kLanes * shape.gradients.block + c % kLanes * kDepth<Number>;
        add_products<kLanes, kBlocks, kSome>(to + block * square + c * kLanes, square, x + block * shape.inputs.block,
                                             shape.inputs.block, of_output, tiles, add);
      }
    };
    const int64_t blocks = shape.in / kLanes;
    int64_t block = 0;
    if constexpr (kOutputsOfPairs > 0) {
      for (; block + 2 <= blocks; block += 2) all_outputs.template operator()<2, kOutputsOfPairs>(block);
    }
    for (; block < blocks; ++block) all_outputs.template operator()<1, kOutputs>(block);
  }
}
