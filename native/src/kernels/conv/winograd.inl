// winograd.inl: 3x3 convolutions by Winograd's F(2x2, 3x3) or F(4x4, 3x3): the algorithms of points.inl in both
// directions. 16 or 36 multiplications a pair of channels in place of 36 or 144. Part of conv.inl.
//
//   output tile   = At [ (G w Gt) . (Bt d B) ] A        w the taps, d the input tile, . the product of equal positions
//   weights' sums = Gt [ sum over tiles (A g At) . (Bt d B) ] G                         g the output's gradient tile
#include "kernels/conv/points.inl"

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

// put(i, j, M X Mt at i, j) for X of kFrom rows and columns, load(i, j), and M of kTo rows: transform(M x, x).
template <int64_t kLanes, int64_t kFrom, int64_t kTo, typename Load, typename Transform, typename Put>
[[gnu::always_inline]] inline void in_both_directions(const Load& load, const Transform& transform, const Put& put) {
  Vector<kLanes> rows[kTo][kFrom];
#pragma GCC unroll 6
  for (int64_t j = 0; j < kFrom; ++j) {
    Vector<kLanes> from[kFrom], to[kTo];
#pragma GCC unroll 6
    for (int64_t i = 0; i < kFrom; ++i) from[i] = load(i, j);
    transform(to, from);
#pragma GCC unroll 6
    for (int64_t i = 0; i < kTo; ++i) rows[i][j] = to[i];
  }
#pragma GCC unroll 6
  for (int64_t i = 0; i < kTo; ++i) {
    Vector<kLanes> to[kTo];
    transform(to, rows[i]);
#pragma GCC unroll 6
    for (int64_t j = 0; j < kTo; ++j) put(i, j, to[j]);
  }
}

// Bt d B. What a column of pixels gives by Bt serves two tiles.
template <int64_t kLanes, int64_t kTile, typename Number>
void input_tiles_of(Number* tiles, const Number* bordered, TileRows rows, const TileShape& shape,
                    const ConvPass& pass) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth, kTaken = Points<kTile>::kTaken;
  const int64_t row = pass.in.row, position = shape.position;
  for (int64_t channel = 0; channel < pass.in.channels; channel += kWidth) {
    const int64_t block = channel / kLanes, lane = channel % kLanes;
    Number* to = tiles + block * shape.block + lane;
    for_tile_rows(rows, pass.tile_rows, [&](int64_t r, int64_t image) {
      const Number* from = bordered + block * pass.in.block + image * pass.in.plane + kTile * r * row + lane;
      Vector<kLanes> rows_of[kTaken][kTaken];  // [position of Bt][column of pixels]
      const auto load = [&](int64_t column) {
        Vector<kLanes> d[kTaken], v[kTaken];
#pragma GCC unroll 6
        for (int64_t i = 0; i < kTaken; ++i) d[i] = numbers_at<kLanes>(from + i * row);
        Points<kTile>::inputs(v, d);
#pragma GCC unroll 6
        for (int64_t i = 0; i < kTaken; ++i) rows_of[i][column] = v[i];
        from += kLanes;
      };
      load(0);
      load(1);
      for (int64_t c = 0; c < pass.tile_columns; ++c, to += kLanes) {
#pragma GCC unroll 4
        for (int64_t column = 2; column < kTaken; ++column) load(column);
#pragma GCC unroll 6
        for (int64_t i = 0; i < kTaken; ++i) {
          Vector<kLanes> v[kTaken];
          Points<kTile>::inputs(v, rows_of[i]);
#pragma GCC unroll 6
          for (int64_t j = 0; j < kTaken; ++j) put_numbers<kLanes>(to + (kTaken * i + j) * position, v[j]);
          rows_of[i][0] = rows_of[i][kTile];
          rows_of[i][1] = rows_of[i][kTile + 1];
        }
      }
    });
  }
}

// A g At.
template <int64_t kLanes, int64_t kTile, typename Number>
void gradient_tiles_of(Number* tiles, const Number* bordered, TileRows rows, const TileShape& shape,
                       const ConvPass& pass) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth, kTaken = Points<kTile>::kTaken;
  const int64_t row = pass.out.row, position = shape.position;
  for (int64_t channel = 0; channel < pass.out.channels; channel += kWidth) {
    const int64_t block = channel / kLanes, lane = channel % kLanes;
    Number* to = tiles + block * shape.block + lane;
    for_tile_rows(rows, pass.tile_rows, [&](int64_t r, int64_t image) {
      const Number* from =
          bordered + block * pass.out.block + image * pass.out.plane + (kTile * r + 1) * row + kLanes + lane;
      for (int64_t c = 0; c < pass.tile_columns; ++c, from += kTile * kLanes, to += kLanes) {
        in_both_directions<kLanes, kTile, kTaken>(
            [&](int64_t i, int64_t j) { return numbers_at<kLanes>(from + i * row + j * kLanes); },
            [](auto* v, const auto* g) { Points<kTile>::gradients(v, g); },
            [&](int64_t i, int64_t j, Vector<kLanes> v) { put_numbers<kLanes>(to + (kTaken * i + j) * position, v); });
      }
    });
  }
}

// out = base + bias + At m A; what stands beyond the image is left out.
template <int64_t kLanes, int64_t kTile, typename Out>
void transform_output(Out* out, const float* products, const float* bias, const float* base, TileRows rows,
                      const ConvPass& pass) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth, kTaken = Points<kTile>::kTaken;
  const int64_t pixel = pass.out.channels, row = pass.out.width * pixel, position = pass.outputs.position;
  for (int64_t channel = 0; channel < pass.out.channels; channel += kWidth) {
    const Vector<kLanes> start = bias != nullptr ? at<kLanes>(bias + channel) : Vector<kLanes>{};
    const float* from = products + channel / kLanes * pass.outputs.block + channel % kLanes;
    for_tile_rows(rows, pass.tile_rows, [&](int64_t r, int64_t image) {
      const int64_t rows_left = pass.out.height - kTile * r;
      for (int64_t x = 0; x < pass.out.width; x += kTile, from += kLanes) {
        const int64_t columns_left = pass.out.width - x;
        const int64_t place = (image * pass.out.height + kTile * r) * row + x * pixel + channel;
        const auto put_where = [&](const auto& is_inside) {
          in_both_directions<kLanes, kTaken, kTile>(
              [&](int64_t i, int64_t j) { return at<kLanes>(from + (kTaken * i + j) * position); },
              [](auto* y, const auto* m) { Points<kTile>::outputs(y, m); },
              [&](int64_t i, int64_t j, Vector<kLanes> y) {
                if (!is_inside(i, j)) return;
                const int64_t own = place + i * row + j * pixel;
                Vector<kLanes> value = start + y;
                if (base != nullptr) value += at<kLanes>(base + own);
                put_numbers<kLanes>(out + own, value);
              });
        };
        if (rows_left >= kTile && columns_left >= kTile) {
          put_where([](int64_t, int64_t) { return true; });
        } else {
          put_where([=](int64_t i, int64_t j) { return i < rows_left && j < columns_left; });
        }
      }
    });
  }
}

template <int64_t kLanes, typename Number>
void input_tiles(Number* tiles, const Number* bordered, TileRows rows, const TileShape& shape, const ConvPass& pass) {
  with_tile<Number>(pass.positions,
                    [&]<int64_t kTile>() { input_tiles_of<kLanes, kTile>(tiles, bordered, rows, shape, pass); });
}

template <int64_t kLanes, typename Number>
void gradient_tiles(Number* tiles, const Number* bordered, TileRows rows, const TileShape& shape,
                    const ConvPass& pass) {
  with_tile<Number>(pass.positions,
                    [&]<int64_t kTile>() { gradient_tiles_of<kLanes, kTile>(tiles, bordered, rows, shape, pass); });
}

// G w Gt.
template <int64_t kLanes>
void transform_weights(float* weights, int64_t position, const float* taps, int64_t tap, int64_t count,
                       int64_t positions) {
  with_tile<float>(positions, [&]<int64_t kTile>() {
    constexpr int64_t kTaken = Points<kTile>::kTaken;
    for (int64_t i = 0; i < count; i += Block<kLanes>::kWidth) {
      in_both_directions<kLanes, 3, kTaken>(
          [&](int64_t k, int64_t j) { return at<kLanes>(taps + (3 * k + j) * tap + i); },
          [](auto* v, const auto* w) { Points<kTile>::weights(v, w); },
          [&](int64_t k, int64_t j, Vector<kLanes> v) { at<kLanes>(weights + (kTaken * k + j) * position + i) = v; });
    }
  });
}

// Gt s G.
template <int64_t kLanes>
void transform_sums(float* taps, int64_t tap, const float* sums, int64_t position, int64_t count, int64_t positions) {
  with_tile<float>(positions, [&]<int64_t kTile>() {
    constexpr int64_t kTaken = Points<kTile>::kTaken;
    for (int64_t i = 0; i < count; i += Block<kLanes>::kWidth) {
      in_both_directions<kLanes, kTaken, 3>(
          [&](int64_t k, int64_t j) { return at<kLanes>(sums + (kTaken * k + j) * position + i); },
          [](auto* w, const auto* s) { Points<kTile>::sums(w, s); },
          [&](int64_t k, int64_t j, Vector<kLanes> w) { at<kLanes>(taps + (3 * k + j) * tap + i) = w; });
    }
  });
}
