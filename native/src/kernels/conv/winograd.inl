// winograd.inl: 3x3 convolutions by Winograd's F(2x2, 3x3) or F(4x4, 3x3): the algorithms of points.inl in both
// directions. 16 or 36 multiplications a pair of channels in place of 36 or 144. Part of conv.inl.
//
//   output tile   = At [ (G w Gt) . (Bt d B) ] A        w the taps, d the input tile, . the product of equal positions
//   weights' sums = Gt [ sum over tiles (A g At) . (Bt d B) ] G                         g the output's gradient tile
#include "kernels/conv/points.inl"

// body(tile row within its image, the image, tiles in memory before the row's) for each of these tile rows of a group.
template <typename Body>
void for_tile_rows(TileRows rows, const TileGrid& grid, const Body& body) {
  int64_t image = rows.first / grid.rows, row = rows.first % grid.rows;
  TileCounts before = count_tiles(grid, 0, rows.behind);
  for (int64_t r = 0; r < rows.count; ++r) {
    body(row, image, before);
    add_row(before, grid, row < grid.whole_rows);
    if (++row == grid.rows) {
      row = 0;
      ++image;
    }
  }
}

// body.operator()<pixels of its side>() for a whole tile row or a short one.
template <int64_t kTile, typename Body>
void with_height(bool is_whole, const Body& body) {
  if constexpr (kTile > 2) {
    if (!is_whole) return body.template operator()<2>();
  }
  body.template operator()<kTile>();
}

// body.operator()<pixels of its side>(c) for each tile of a row.
template <int64_t kTile, typename Body>
void for_tile_columns(const TileGrid& grid, const Body& body) {
  for (int64_t c = 0; c < grid.whole_columns; ++c) body.template operator()<kTile>(c);
  if constexpr (kTile > 2) {
    if (grid.whole_columns < grid.columns) body.template operator()<2>(grid.whole_columns);
  }
}

// Where a row's tiles start at each position.
template <int64_t kLanes, int64_t kTile, typename Number>
struct RowTiles {
  Number* of[2][2];
  int64_t position;

  RowTiles(Number* tiles, const TileCounts& before, int64_t distance) : position(distance) {
    for (int64_t i = 0; i < 2; ++i) {
      for (int64_t j = 0; j < 2; ++j) of[i][j] = tiles + before.of[i][j] * kLanes;
    }
  }
  Number* at(int64_t i, int64_t j, int64_t c) const {
    constexpr int64_t kTaken = Points<kTile>::kTaken;
    const bool row = kTaken == 6 && lacks_position(i), column = kTaken == 6 && lacks_position(j);
    return of[row][column] + (kTaken * i + j) * position + c * kLanes;
  }
};

// The maps of one direction, of kFrom vectors to kTo.
template <typename Points>
struct Gradients {
  static constexpr int64_t kFrom = Points::kTaken - 2, kTo = Points::kTaken;
  template <typename V>
  static void apply(V* to, const V* from) {
    Points::gradients(to, from);
  }
};
template <typename Points>
struct Outputs {
  static constexpr int64_t kFrom = Points::kTaken, kTo = Points::kTaken - 2;
  template <typename V>
  static void apply(V* to, const V* from) {
    Points::outputs(to, from);
  }
};
template <typename Points>
struct Weights {
  static constexpr int64_t kFrom = 3, kTo = Points::kTaken;
  template <typename V>
  static void apply(V* to, const V* from) {
    Points::weights(to, from);
  }
};
template <typename Points>
struct Sums {
  static constexpr int64_t kFrom = Points::kTaken, kTo = 3;
  template <typename V>
  static void apply(V* to, const V* from) {
    Points::sums(to, from);
  }
};

// put(i, j, R X Ct at i, j) for X = load(i, j), where Rows::apply(R x, x) and Columns::apply(C x, x).
template <int64_t kLanes, typename Rows, typename Columns, typename Load, typename Put>
[[gnu::always_inline]] inline void in_both_directions(const Load& load, const Put& put) {
  Aligned<kLanes> rows[Rows::kTo][Columns::kFrom];
#pragma GCC unroll 6
  for (int64_t j = 0; j < Columns::kFrom; ++j) {
    Aligned<kLanes> from[Rows::kFrom], to[Rows::kTo];
#pragma GCC unroll 6
    for (int64_t i = 0; i < Rows::kFrom; ++i) from[i] = load(i, j);
    Rows::apply(to, from);
#pragma GCC unroll 6
    for (int64_t i = 0; i < Rows::kTo; ++i) rows[i][j] = to[i];
  }
#pragma GCC unroll 6
  for (int64_t i = 0; i < Rows::kTo; ++i) {
    Aligned<kLanes> to[Columns::kTo];
    Columns::apply(to, rows[i]);
#pragma GCC unroll 6
    for (int64_t j = 0; j < Columns::kTo; ++j) put(i, j, to[j]);
  }
}

// Bt d B. What a column of pixels gives by Bt serves two tiles.
template <int64_t kLanes, int64_t kTile, typename Number>
void input_tiles_of(Number* tiles, const Number* bordered, TileRows rows, const TileShape& shape,
                    const ConvPass& pass) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth;
  const int64_t row = pass.in.row;
  for (int64_t channel = 0; channel < pass.in.channels; channel += kWidth) {
    const int64_t block = channel / kLanes, lane = channel % kLanes;
    Number* of_channel = tiles + block * shape.block + lane;
    for_tile_rows(rows, pass.grid, [&](int64_t r, int64_t image, const TileCounts& before) {
      const RowTiles<kLanes, kTile, Number> to(of_channel, before, shape.position);
      const Number* from = bordered + block * pass.in.block + image * pass.in.plane + kTile * r * row + lane;
      with_height<kTile>(r < pass.grid.whole_rows, [&]<int64_t kHeight>() {
        using Rows = Points<kTile, kHeight>;
        Aligned<kLanes> rows_of[Rows::kTaken][kTile + 2];  // [position of Bt][column of pixels]
        const auto load = [&](int64_t column) {
          Aligned<kLanes> d[Rows::kTaken], v[Rows::kTaken];
#pragma GCC unroll 6
          for (int64_t i = 0; i < Rows::kTaken; ++i) d[i] = numbers_at<kLanes>(from + i * row);
          Rows::inputs(v, d);
#pragma GCC unroll 6
          for (int64_t i = 0; i < Rows::kTaken; ++i) rows_of[i][column] = v[i];
          from += kLanes;
        };
        load(0);
        load(1);
        for_tile_columns<kTile>(pass.grid, [&]<int64_t kPixels>(int64_t c) {
          using Columns = Points<kTile, kPixels>;
#pragma GCC unroll 4
          for (int64_t column = 2; column < Columns::kTaken; ++column) load(column);
#pragma GCC unroll 6
          for (int64_t i = 0; i < Rows::kTaken; ++i) {
            Aligned<kLanes> v[Columns::kTaken];
            Columns::inputs(v, rows_of[i]);
#pragma GCC unroll 6
            for (int64_t j = 0; j < Columns::kTaken; ++j) {
              put_numbers<kLanes>(to.at(Rows::position(i), Columns::position(j), c), v[j]);
            }
            rows_of[i][0] = rows_of[i][kPixels];
            rows_of[i][1] = rows_of[i][kPixels + 1];
          }
        });
      });
    });
  }
}

// A g At.
template <int64_t kLanes, int64_t kTile, typename Number>
void gradient_tiles_of(Number* tiles, const Number* bordered, TileRows rows, const TileShape& shape,
                       const ConvPass& pass) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth;
  const int64_t row = pass.out.row;
  for (int64_t channel = 0; channel < pass.out.channels; channel += kWidth) {
    const int64_t block = channel / kLanes, lane = channel % kLanes;
    Number* of_channel = tiles + block * shape.block + lane;
    for_tile_rows(rows, pass.grid, [&](int64_t r, int64_t image, const TileCounts& before) {
      const RowTiles<kLanes, kTile, Number> to(of_channel, before, shape.position);
      const Number* of_row =
          bordered + block * pass.out.block + image * pass.out.plane + (kTile * r + 1) * row + kLanes + lane;
      with_height<kTile>(r < pass.grid.whole_rows, [&]<int64_t kHeight>() {
        for_tile_columns<kTile>(pass.grid, [&]<int64_t kPixels>(int64_t c) {
          using Rows = Points<kTile, kHeight>;
          using Columns = Points<kTile, kPixels>;
          const Number* from = of_row + kTile * c * kLanes;
          in_both_directions<kLanes, Gradients<Rows>, Gradients<Columns>>(
              [&](int64_t i, int64_t j) { return numbers_at<kLanes>(from + i * row + j * kLanes); },
              [&](int64_t i, int64_t j, Vector<kLanes> v) {
                put_numbers<kLanes>(to.at(Rows::position(i), Columns::position(j), c), v);
              });
        });
      });
    });
  }
}

// out = base + bias + At m A; what stands beyond the image is left out.
template <int64_t kLanes, int64_t kTile, typename Out>
void transform_output(Out* out, const float* products, const float* bias, const float* base, TileRows rows,
                      const ConvPass& pass) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth;
  const int64_t pixel = pass.out_pixel, row = pass.out.width * pixel;
  for (int64_t channel = 0; channel < pass.out.channels; channel += kWidth) {
    const Vector<kLanes> start = bias != nullptr ? at<kLanes>(bias + channel) : Vector<kLanes>{};
    const float* of_channel = products + channel / kLanes * pass.outputs.block + channel % kLanes;
    for_tile_rows(rows, pass.grid, [&](int64_t r, int64_t image, const TileCounts& before) {
      const RowTiles<kLanes, kTile, const float> from(of_channel, before, pass.outputs.position);
      const int64_t of_row = (image * pass.out.height + kTile * r) * row + channel;
      const int64_t rows_left = pass.out.height - kTile * r;
      with_height<kTile>(r < pass.grid.whole_rows, [&]<int64_t kHeight>() {
        for_tile_columns<kTile>(pass.grid, [&]<int64_t kPixels>(int64_t c) {
          using Rows = Points<kTile, kHeight>;
          using Columns = Points<kTile, kPixels>;
          const int64_t columns_left = pass.out.width - kTile * c, place = of_row + kTile * c * pixel;
          const auto put_where = [&](const auto& is_inside) {
            in_both_directions<kLanes, Outputs<Rows>, Outputs<Columns>>(
                [&](int64_t i, int64_t j) { return at<kLanes>(from.at(Rows::position(i), Columns::position(j), c)); },
                [&](int64_t i, int64_t j, Vector<kLanes> y) {
                  if (!is_inside(i, j)) return;
                  const int64_t own = place + i * row + j * pixel;
                  Vector<kLanes> value = start + y;
                  if (base != nullptr) value += at<kLanes>(base + own);
                  put_numbers<kLanes>(out + own, value);
                });
          };
          if (rows_left >= kHeight && columns_left >= kPixels) {
            put_where([](int64_t, int64_t) { return true; });
          } else {
            put_where([=](int64_t i, int64_t j) { return i < rows_left && j < columns_left; });
          }
        });
      });
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
      in_both_directions<kLanes, Weights<Points<kTile>>, Weights<Points<kTile>>>(
          [&](int64_t k, int64_t j) { return at<kLanes>(taps + (3 * k + j) * tap + i); },
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
      in_both_directions<kLanes, Sums<Points<kTile>>, Sums<Points<kTile>>>(
          [&](int64_t k, int64_t j) { return at<kLanes>(sums + (kTaken * k + j) * position + i); },
          [&](int64_t k, int64_t j, Vector<kLanes> w) { at<kLanes>(taps + (3 * k + j) * tap + i) = w; });
    }
  });
}
