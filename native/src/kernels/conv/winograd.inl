// winograd.inl: 3x3 convolutions by Winograd's F(2x2, 3x3) (Lavin and Gray, arXiv 1509.09308): tiles of 2x2 outputs
// from 4x4 inputs by 16 multiplications a pair of channels in place of 36. Part of conv.inl.
//
//   output tile   = At [ (G w Gt) . (Bt d B) ] A        w the taps, d the input tile, . the product of equal positions
//   weights' sums = Gt [ sum over tiles (A g At) . (Bt d B) ] G                         g the output's gradient tile
//   Bt = [1  0 -1  0;  0 1 1 0;  0 -1 1 0;  0 -1 0 1]      At = [1 1  1 0;  0 1 -1 1]
//   G  = [1 0 0;  1/2 1/2 1/2;  1/2 -1/2 1/2;  0 0 1]

// body(tile row within its image, the image) for each of these tile rows of a group.
template <typename Body>
void for_tile_rows(TileRows rows, int64_t of_image, const Body& body) {
  int64_t image = rows.first / of_image, row = rows.first % of_image;
  for (int64_t r = 0; r < rows.count; ++r) {
    body(row, image);
    if (++row == of_image) {
      row = 0;
      ++image;
    }
  }
}

// Bt d B. What a column of pixels gives by Bt serves two tiles.
template <int64_t kLanes, typename Number>
void input_tiles(Number* tiles, const Number* bordered, TileRows rows, const TileShape& shape, const ConvPass& pass) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth;
  const int64_t row = pass.in.row, position = shape.position;
  for (int64_t channel = 0; channel < pass.in.channels; channel += kWidth) {
    const int64_t block = channel / kLanes, lane = channel % kLanes;
    Number* to = tiles + block * shape.block + lane;
    for_tile_rows(rows, pass.tile_rows, [&](int64_t r, int64_t image) {
      const Number* from = bordered + block * pass.in.block + image * pass.in.plane + 2 * r * row + lane;
      Vector<kLanes> columns[4][4];
      const auto load = [&](Vector<kLanes>* column) {
        const Vector<kLanes> d0 = numbers_at<kLanes>(from), d1 = numbers_at<kLanes>(from + row),
                             d2 = numbers_at<kLanes>(from + 2 * row), d3 = numbers_at<kLanes>(from + 3 * row);
        column[0] = d0 - d2;
        column[1] = d1 + d2;
        column[2] = d2 - d1;
        column[3] = d3 - d1;
        from += kLanes;
      };
      load(columns[0]);
      load(columns[1]);
      for (int64_t c = 0; c < pass.tile_columns; ++c, to += kLanes) {
        load(columns[2]);
        load(columns[3]);
#pragma GCC unroll 4
        for (int64_t i = 0; i < 4; ++i) {
          put_numbers<kLanes>(to + (4 * i) * position, columns[0][i] - columns[2][i]);
          put_numbers<kLanes>(to + (4 * i + 1) * position, columns[1][i] + columns[2][i]);
          put_numbers<kLanes>(to + (4 * i + 2) * position, columns[2][i] - columns[1][i]);
          put_numbers<kLanes>(to + (4 * i + 3) * position, columns[3][i] - columns[1][i]);
          columns[0][i] = columns[2][i];
          columns[1][i] = columns[3][i];
        }
      }
    });
  }
}

// A g At.
template <int64_t kLanes, typename Number>
void gradient_tiles(Number* tiles, const Number* bordered, TileRows rows, const TileShape& shape,
                    const ConvPass& pass) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth;
  const int64_t row = pass.out.row, position = shape.position;
  for (int64_t channel = 0; channel < pass.out.channels; channel += kWidth) {
    const int64_t block = channel / kLanes, lane = channel % kLanes;
    Number* to = tiles + block * shape.block + lane;
    for_tile_rows(rows, pass.tile_rows, [&](int64_t r, int64_t image) {
      const Number* from =
          bordered + block * pass.out.block + image * pass.out.plane + (2 * r + 1) * row + kLanes + lane;
      for (int64_t c = 0; c < pass.tile_columns; ++c, from += 2 * kLanes, to += kLanes) {
        const Vector<kLanes> g0 = numbers_at<kLanes>(from), g1 = numbers_at<kLanes>(from + kLanes),
                             g2 = numbers_at<kLanes>(from + row), g3 = numbers_at<kLanes>(from + row + kLanes);
        const Vector<kLanes> left[4] = {g0, g0 + g2, g0 - g2, g2}, right[4] = {g1, g1 + g3, g1 - g3, g3};
#pragma GCC unroll 4
        for (int64_t i = 0; i < 4; ++i) {
          put_numbers<kLanes>(to + (4 * i) * position, left[i]);
          put_numbers<kLanes>(to + (4 * i + 1) * position, left[i] + right[i]);
          put_numbers<kLanes>(to + (4 * i + 2) * position, left[i] - right[i]);
          put_numbers<kLanes>(to + (4 * i + 3) * position, right[i]);
        }
      }
    });
  }
}

// out = base + bias + At m A; what stands beyond the image is left out.
template <int64_t kLanes, typename Out>
void transform_output(Out* out, const float* products, const float* bias, const float* base, TileRows rows,
                      const ConvPass& pass) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth;
  const int64_t pixel = pass.out.channels, row = pass.out.width * pixel, position = pass.outputs.position;
  for (int64_t channel = 0; channel < pass.out.channels; channel += kWidth) {
    const Vector<kLanes> start = bias != nullptr ? at<kLanes>(bias + channel) : Vector<kLanes>{};
    const float* from = products + channel / kLanes * pass.outputs.block + channel % kLanes;
    for_tile_rows(rows, pass.tile_rows, [&](int64_t r, int64_t image) {
      const bool two_rows = 2 * r + 1 < pass.out.height;
      for (int64_t x = 0; x < pass.out.width; x += 2, from += kLanes) {
        Vector<kLanes> upper[4], lower[4];
#pragma GCC unroll 4
        for (int64_t j = 0; j < 4; ++j) {
          const Vector<kLanes> m0 = at<kLanes>(from + j * position), m1 = at<kLanes>(from + (4 + j) * position),
                               m2 = at<kLanes>(from + (8 + j) * position), m3 = at<kLanes>(from + (12 + j) * position);
          upper[j] = m0 + (m1 + m2);
          lower[j] = (m1 - m2) + m3;
        }
        const int64_t place = (image * pass.out.height + 2 * r) * row + x * pixel + channel;
        const auto put = [&](int64_t offset, Vector<kLanes> value) {
          if (base != nullptr) value += at<kLanes>(base + place + offset);
          put_numbers<kLanes>(out + place + offset, value);
        };
        const bool two_columns = x + 1 < pass.out.width;
        put(0, start + (upper[0] + (upper[1] + upper[2])));
        if (two_columns) put(pixel, start + ((upper[1] - upper[2]) + upper[3]));
        if (!two_rows) continue;
        put(row, start + (lower[0] + (lower[1] + lower[2])));
        if (two_columns) put(row + pixel, start + ((lower[1] - lower[2]) + lower[3]));
      }
    });
  }
}

// G w Gt.
template <int64_t kLanes>
void transform_weights(float* weights, int64_t position, const float* taps, int64_t tap, int64_t count) {
  for (int64_t i = 0; i < count; i += Block<kLanes>::kWidth) {
    Vector<kLanes> rows[4][3];
    const auto expand = [](Vector<kLanes> w0, Vector<kLanes> w1, Vector<kLanes> w2, const auto& put) {
      const Vector<kLanes> sum = 0.5f * (w0 + w2), half = 0.5f * w1;
      put(0, w0);
      put(1, sum + half);
      put(2, sum - half);
      put(3, w2);
    };
    for (int64_t j = 0; j < 3; ++j) {
      expand(at<kLanes>(taps + j * tap + i), at<kLanes>(taps + (3 + j) * tap + i), at<kLanes>(taps + (6 + j) * tap + i),
             [&](int64_t k, Vector<kLanes> value) { rows[k][j] = value; });
    }
    for (int64_t k = 0; k < 4; ++k) {
      expand(rows[k][0], rows[k][1], rows[k][2],
             [&](int64_t j, Vector<kLanes> value) { at<kLanes>(weights + (4 * k + j) * position + i) = value; });
    }
  }
}

// Gt s G.
template <int64_t kLanes>
void transform_sums(float* taps, int64_t tap, const float* sums, int64_t position, int64_t count) {
  for (int64_t i = 0; i < count; i += Block<kLanes>::kWidth) {
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
           [&](int64_t j, Vector<kLanes> value) { at<kLanes>(taps + (3 * k + j) * tap + i) = value; });
    }
  }
}
