// tiles.h: how the tiles of a 3x3 convolution cover images, and where they stand in memory. No LibTorch type in here.
#pragma once

#include <cstdint>

namespace resnet_nodes {

/// The tiles of an image: the first rows and columns of them are whole, as many pixels wide as the algorithm gives. A
/// last one of two pixels, where no more are left, is short: of the positions of a whole tile it has those of
/// F(2x2, 3x3).
struct TileGrid {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t whole_rows = 0;
  int64_t whole_columns = 0;
  bool operator==(const TileGrid&) const = default;
};

/// Some of the tile rows of a group, over all of its images.
struct TileRows {
  int64_t first = 0;
  int64_t count = 0;
  int64_t behind = 0;  ///< so many rows of tiles, of whole images, stand before theirs in memory
};

/// Where tiles stand: [position][block][tile][lane], those of a weight gradient where numbers are multiplied in pairs
/// [position][block][tile / 2][lane][tile % 2]. At a position only the tiles that have it stand, one behind another.
struct TileShape {
  int64_t position = 0;  ///< distance of two positions
  int64_t block = 0;     ///< distance of two blocks of channels
};

/// Numbers of tiles: all, and those of whole rows [1][..] or columns [..][1] alone.
struct TileCounts {
  int64_t of[2][2] = {};
};

// Internal, so that each instruction set has its own.

static inline void add_row(TileCounts& counts, const TileGrid& grid, bool is_whole, int64_t times = 1) {
  for (int64_t whole = 0; whole <= (is_whole ? 1 : 0); ++whole) {
    counts.of[whole][0] += times * grid.columns;
    counts.of[whole][1] += times * grid.whole_columns;
  }
}

/// Of `count` rows from this one on.
static inline TileCounts count_tiles(const TileGrid& grid, int64_t first, int64_t count) {
  const int64_t short_rows = grid.whole_rows == grid.rows ? 0 : (first + count) / grid.rows - first / grid.rows;
  TileCounts counts;
  add_row(counts, grid, false, short_rows);
  add_row(counts, grid, true, count - short_rows);
  return counts;
}

}  // namespace resnet_nodes
