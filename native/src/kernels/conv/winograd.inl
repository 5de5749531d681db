// winograd.inl: 3x3 convolutions of one image by Winograd's F(2x2, 3x3) (Lavin and Gray, arXiv 1509.09308): tiles of
// 2x2 outputs from 4x4 inputs by 16 multiplications a pair of channels in place of 36. Included by conv.inl.
//
//   output tile   = At [ (G w Gt) . (Bt d B) ] A        w the taps, d the input tile, . the product of equal positions
//   weights' sums = Gt [ sum over tiles (A g At) . (Bt d B) ] G                         g the output's gradient tile
//   Bt = [1  0 -1  0;  0 1 1 0;  0 -1 1 0;  0 -1 0 1]      At = [1 1  1 0;  0 1 -1 1]
//   G  = [1 0 0;  1/2 1/2 1/2;  1/2 -1/2 1/2;  0 0 1]
//
// Transformed tiles: [position][block][tile][lane]; positions are `shape.position` floats apart.

// The tile rows that are transformed together.
struct Band {
  int64_t first;
  int64_t rows;
  int64_t tiles;
};

template <typename Body>
void for_bands(const ConvShape& shape, const Body& body) {
  for (int64_t first = 0; first < shape.tile_rows; first += shape.band_rows) {
    const int64_t left = shape.tile_rows - first, rows = left < shape.band_rows ? left : shape.band_rows;
    body(Band{first, rows, rows * shape.tile_columns});
  }
}

// Bt d B of each tile of the band. What a column of pixels gives by Bt serves two tiles.
template <int64_t kLanes>
void transform_input(float* target, const float* bordered, const Band& band, const ConvShape& shape) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth, kVectors = Block<kLanes>::kVectors;
  const int64_t row = shape.row, position = shape.position;
  for (int64_t block = 0; block < shape.blocks; ++block) {
    for (int64_t v = 0; v < kVectors; ++v) {
      float* to = target + block * band.tiles * kLanes + v * kWidth;
      for (int64_t r = 0; r < band.rows; ++r) {
        const float* from = bordered + block * shape.plane + 2 * (band.first + r) * row + v * kWidth;
        Vector<kLanes> columns[4][4];
        const auto load = [&](Vector<kLanes>* column) {
          const Vector<kLanes> d0 = at<kLanes>(from), d1 = at<kLanes>(from + row), d2 = at<kLanes>(from + 2 * row),
                               d3 = at<kLanes>(from + 3 * row);
          column[0] = d0 - d2;
          column[1] = d1 + d2;
          column[2] = d2 - d1;
          column[3] = d3 - d1;
          from += kLanes;
        };
        load(columns[0]);
        load(columns[1]);
        for (int64_t c = 0; c < shape.tile_columns; ++c, to += kLanes) {
          load(columns[2]);
          load(columns[3]);
#pragma GCC unroll 4
          for (int64_t i = 0; i < 4; ++i) {
            at<kLanes>(to + (4 * i) * position) = columns[0][i] - columns[2][i];
            at<kLanes>(to + (4 * i + 1) * position) = columns[1][i] + columns[2][i];
            at<kLanes>(to + (4 * i + 2) * position) = columns[2][i] - columns[1][i];
            at<kLanes>(to + (4 * i + 3) * position) = columns[3][i] - columns[1][i];
            columns[0][i] = columns[2][i];
            columns[1][i] = columns[3][i];
          }
        }
      }
    }
  }
}

// A g At of each tile of the band.
template <int64_t kLanes>
void transform_gradient(float* target, const float* bordered, const Band& band, const ConvShape& shape) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth, kVectors = Block<kLanes>::kVectors;
  const int64_t row = shape.row, position = shape.position;
  for (int64_t block = 0; block < shape.blocks; ++block) {
    for (int64_t v = 0; v < kVectors; ++v) {
      float* to = target + block * band.tiles * kLanes + v * kWidth;
      for (int64_t r = 0; r < band.rows; ++r) {
        const float* from = bordered + block * shape.plane + (2 * (band.first + r) + 1) * row + kLanes + v * kWidth;
        for (int64_t c = 0; c < shape.tile_columns; ++c, from += 2 * kLanes, to += kLanes) {
          const Vector<kLanes> g0 = at<kLanes>(from), g1 = at<kLanes>(from + kLanes), g2 = at<kLanes>(from + row),
                               g3 = at<kLanes>(from + row + kLanes);
          const Vector<kLanes> left[4] = {g0, g0 + g2, g0 - g2, g2}, right[4] = {g1, g1 + g3, g1 - g3, g3};
#pragma GCC unroll 4
          for (int64_t i = 0; i < 4; ++i) {
            at<kLanes>(to + (4 * i) * position) = left[i];
            at<kLanes>(to + (4 * i + 1) * position) = left[i] + right[i];
            at<kLanes>(to + (4 * i + 2) * position) = left[i] - right[i];
            at<kLanes>(to + (4 * i + 3) * position) = right[i];
          }
        }
      }
    }
  }
}

// out = base + bias + At m A of each tile of the band; what stands beyond the image is left out.
template <int64_t kLanes>
void transform_output(float* out, const float* products, const float* bias, const float* base, const Band& band,
                      const ConvShape& shape) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth, kVectors = Block<kLanes>::kVectors;
  const int64_t pixel = shape.channels, row = shape.width * pixel, position = shape.position;
  for (int64_t block = 0; block < shape.blocks; ++block) {
    for (int64_t v = 0; v < kVectors; ++v) {
      const int64_t channel = block * kLanes + v * kWidth;
      const Vector<kLanes> start = bias != nullptr ? at<kLanes>(bias + channel) : Vector<kLanes>{};
      const float* from = products + block * band.tiles * kLanes + v * kWidth;
      for (int64_t r = 0; r < band.rows; ++r) {
        const int64_t y = 2 * (band.first + r);
        const bool two_rows = y + 1 < shape.height;
        for (int64_t x = 0; x < shape.width; x += 2, from += kLanes) {
          Vector<kLanes> upper[4], lower[4];
#pragma GCC unroll 4
          for (int64_t j = 0; j < 4; ++j) {
            const Vector<kLanes> m0 = at<kLanes>(from + j * position), m1 = at<kLanes>(from + (4 + j) * position),
                                 m2 = at<kLanes>(from + (8 + j) * position),
                                 m3 = at<kLanes>(from + (12 + j) * position);
            upper[j] = m0 + (m1 + m2);
            lower[j] = (m1 - m2) + m3;
          }
          const int64_t place = y * row + x * pixel + channel;
          const auto put = [&](int64_t offset, Vector<kLanes> value) {
            if (base != nullptr) value += at<kLanes>(base + place + offset);
            at<kLanes>(out + place + offset) = value;
          };
          const bool two_columns = x + 1 < shape.width;
          put(0, start + (upper[0] + (upper[1] + upper[2])));
          if (two_columns) put(pixel, start + ((upper[1] - upper[2]) + upper[3]));
          if (!two_rows) continue;
          put(row, start + (lower[0] + (lower[1] + lower[2])));
          if (two_columns) put(row + pixel, start + ((lower[1] - lower[2]) + lower[3]));
        }
      }
    }
  }
}

// For one position: products[kBlocks][kTiles] = sum over input channels of transformed inputs and weights. `inputs` and
// `products` may be the same where the image has one block. `block`: distance of two blocks of tiles.
template <int64_t kLanes, int64_t kBlocks, int64_t kTiles>
void multiply_tiles(float* products, const float* inputs, const float* weights, int64_t block, const ConvShape& shape) {
  constexpr int64_t kVectors = Block<kLanes>::kVectors, kWidth = Block<kLanes>::kWidth;
  const int64_t next_weights = shape.channels * kLanes;
  Vector<kLanes> sums[kBlocks][kTiles][kVectors] = {};
  for (int64_t in = 0; in < shape.blocks; ++in) {
    const float* x = inputs + in * block;
    for (int64_t c = 0; c < kLanes; ++c, ++x, weights += kLanes) {
      Vector<kLanes> w[kBlocks][kVectors];
#pragma GCC unroll 4
      for (int64_t b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 4
        for (int64_t v = 0; v < kVectors; ++v) w[b][v] = at<kLanes>(weights + b * next_weights + v * kWidth);
      }
#pragma GCC unroll 32
      for (int64_t t = 0; t < kTiles; ++t) {
        const float factor = x[t * kLanes];
#pragma GCC unroll 4
        for (int64_t b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 4
          for (int64_t v = 0; v < kVectors; ++v) sums[b][t][v] += w[b][v] * factor;
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int64_t b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 32
    for (int64_t t = 0; t < kTiles; ++t) {
#pragma GCC unroll 4
      for (int64_t v = 0; v < kVectors; ++v) at<kLanes>(products + b * block + t * kLanes + v * kWidth) = sums[b][t][v];
    }
  }
}

// The kernel of this many tiles.
template <int64_t kLanes, int64_t kBlocks, int64_t kTiles>
void multiply_some(int64_t tiles, float* products, const float* inputs, const float* weights, int64_t block,
                   const ConvShape& shape) {
  if (tiles == kTiles) {
    multiply_tiles<kLanes, kBlocks, kTiles>(products, inputs, weights, block, shape);
  } else if constexpr (kTiles > 1) {
    multiply_some<kLanes, kBlocks, kTiles - 1>(tiles, products, inputs, weights, block, shape);
  }
}

// All tiles of one position and kBlocks blocks of output channels, in groups of nearly equal size: a small one would
// leave multipliers waiting.
template <int64_t kLanes, int64_t kBlocks>
void multiply(float* products, const float* inputs, const float* weights, int64_t tiles, const ConvShape& shape) {
  constexpr int64_t kMost = kBlocks == 1 ? Block<kLanes>::kTiles : Block<kLanes>::kTilesOfPairs;
  const int64_t groups = (tiles + kMost - 1) / kMost;
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t begin = group * tiles / groups, count = (group + 1) * tiles / groups - begin;
    multiply_some<kLanes, kBlocks, kMost>(count, products + begin * kLanes, inputs + begin * kLanes, weights,
                                          tiles * kLanes, shape);
  }
}

template <int64_t kLanes>
void convolve(float* out, const float* bordered, const float* weights, const float* bias, const float* base,
              float* scratch, const ConvShape& shape) {
  const int64_t square = shape.channels * kLanes;  // weights of one block of output channels at one position
  float* products = shape.blocks == 1 ? scratch : scratch + 16 * shape.position;
  for_bands(shape, [&](const Band& band) {
    transform_input<kLanes>(scratch, bordered, band, shape);
    const float* w = weights;
    for (int64_t p = 0; p < 16; ++p) {
      const float* inputs = scratch + p * shape.position;
      float* to = products + p * shape.position;
      int64_t block = 0;
      if constexpr (Block<kLanes>::kTilesOfPairs > 1) {
        for (; block + 2 <= shape.blocks; block += 2, w += 2 * square) {
          multiply<kLanes, 2>(to + block * band.tiles * kLanes, inputs, w, band.tiles, shape);
        }
      }
      for (; block < shape.blocks; ++block, w += square) {
        multiply<kLanes, 1>(to + block * band.tiles * kLanes, inputs, w, band.tiles, shape);
      }
    }
    transform_output<kLanes>(out, products, bias, base, band, shape);
  });
}

// sums += inputs' and gradients' products over all tiles, for one position, kInputs input channels and kBlocks blocks
// of output channels, which stay in registers.
template <int64_t kLanes, int64_t kBlocks, int64_t kInputs>
void add_products(float* sums, const float* inputs, const float* gradients, int64_t tiles, int64_t next_sums) {
  constexpr int64_t kVectors = Block<kLanes>::kVectors, kWidth = Block<kLanes>::kWidth;
  Vector<kLanes> total[kBlocks][kInputs][kVectors];
  const auto for_sums = [&](const auto& body) {
#pragma GCC unroll 4
    for (int64_t b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 16
      for (int64_t c = 0; c < kInputs; ++c) {
#pragma GCC unroll 4
        for (int64_t v = 0; v < kVectors; ++v) {
          body(at<kLanes>(sums + b * next_sums + c * kLanes + v * kWidth), total[b][c][v]);
        }
      }
    }
  };
  for_sums([](const Vector<kLanes>& memory, Vector<kLanes>& value) { value = memory; });
  for (int64_t t = 0; t < tiles; ++t, inputs += kLanes, gradients += kLanes) {
    Vector<kLanes> g[kBlocks][kVectors];
#pragma GCC unroll 4
    for (int64_t b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 4
      for (int64_t v = 0; v < kVectors; ++v) g[b][v] = at<kLanes>(gradients + b * tiles * kLanes + v * kWidth);
    }
#pragma GCC unroll 16
    for (int64_t c = 0; c < kInputs; ++c) {
      const float factor = inputs[c];
#pragma GCC unroll 4
      for (int64_t b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 4
        for (int64_t v = 0; v < kVectors; ++v) total[b][c][v] += g[b][v] * factor;
      }
    }
  }
  for_sums([](Vector<kLanes>& memory, const Vector<kLanes>& value) { memory = value; });
}

// Sums: [position][out / lanes][in / lanes][in % lanes][out % lanes], as the transformed weights.
template <int64_t kLanes>
void weight_gradient(float* sums, const float* input, const float* gradient, float* scratch, const ConvShape& shape) {
  constexpr int64_t kInputs = Block<kLanes>::kInputs, kInputsOfPairs = Block<kLanes>::kInputsOfPairs;
  const int64_t square = shape.channels * kLanes;
  float* gradients = scratch + 16 * shape.position;
  for_bands(shape, [&](const Band& band) {
    transform_input<kLanes>(scratch, input, band, shape);
    transform_gradient<kLanes>(gradients, gradient, band, shape);
    const int64_t tiles = band.tiles * kLanes;
    float* to = sums;
    for (int64_t p = 0; p < 16; ++p) {
      const float *x = scratch + p * shape.position, *g = gradients + p * shape.position;
      int64_t block = 0;
      if constexpr (kInputsOfPairs > 0) {
        for (; block + 2 <= shape.blocks; block += 2, to += 2 * square) {
          for (int64_t c = 0; c < shape.channels; c += kInputsOfPairs) {
            add_products<kLanes, 2, kInputsOfPairs>(to + c * kLanes, x + c / kLanes * tiles + c % kLanes,
                                                    g + block * tiles, band.tiles, square);
          }
        }
      }
      for (; block < shape.blocks; ++block, to += square) {
        for (int64_t c = 0; c < shape.channels; c += kInputs) {
          add_products<kLanes, 1, kInputs>(to + c * kLanes, x + c / kLanes * tiles + c % kLanes, g + block * tiles,
                                           band.tiles, square);
        }
      }
    }
  });
}

// From [tap][in][out] of one square of lanes x lanes channels, `next` floats from tap to tap, to G w Gt.
template <int64_t kLanes>
void transform_weights(float* weights, const float* taps, int64_t next, const ConvShape& shape) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth;
  const int64_t position = shape.channels * shape.channels;
  for (int64_t i = 0; i < kLanes * kLanes; i += kWidth) {
    Vector<kLanes> rows[4][3];
    const auto expand = [](Vector<kLanes> w0, Vector<kLanes> w1, Vector<kLanes> w2, const auto& put) {
      const Vector<kLanes> sum = 0.5f * (w0 + w2), half = 0.5f * w1;
      put(0, w0);
      put(1, sum + half);
      put(2, sum - half);
      put(3, w2);
    };
    for (int64_t j = 0; j < 3; ++j) {
      expand(at<kLanes>(taps + j * next + i), at<kLanes>(taps + (3 + j) * next + i),
             at<kLanes>(taps + (6 + j) * next + i), [&](int64_t k, Vector<kLanes> value) { rows[k][j] = value; });
    }
    for (int64_t k = 0; k < 4; ++k) {
      expand(rows[k][0], rows[k][1], rows[k][2],
             [&](int64_t j, Vector<kLanes> value) { at<kLanes>(weights + (4 * k + j) * position + i) = value; });
    }
  }
}

// From sums in the transformed domain to those of the taps, Gt s G, of one square.
template <int64_t kLanes>
void transform_sums(float* taps, int64_t next, const float* sums, const ConvShape& shape) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth;
  const int64_t position = shape.channels * shape.channels;
  for (int64_t i = 0; i < kLanes * kLanes; i += kWidth) {
    Vector<kLanes> rows[3][4];
    const auto fold = [](Vector<kLanes> s0, Vector<kLanes> s1, Vector<kLanes> s2, Vector<kLanes> s3, const auto& put) {
      const Vector<kLanes> sum = 0.5f * (s1 + s2);
      put(0, s0 + sum);
      put(1, 0.5f * (s1 - s2));
      put(2, sum + s3);
    };
    for (int64_t j = 0; j < 4; ++j) {
      const auto s = [&](int64_t k) { return at<kLanes>(sums + (4 * k + j) * position + i); };
      fold(s(0), s(1), s(2), s(3), [&](int64_t k, Vector<kLanes> value) { rows[k][j] = value; });
    }
    for (int64_t k = 0; k < 3; ++k) {
      fold(rows[k][0], rows[k][1], rows[k][2], rows[k][3],
           [&](int64_t j, Vector<kLanes> value) { at<kLanes>(taps + (3 * k + j) * next + i) = value; });
    }
  }
}
