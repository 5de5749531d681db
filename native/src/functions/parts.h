// parts.h: how much of a function's tape is held at a time. With saved statistics only two sums a channel of each batch
// normalization cross images, so that a product can go over some images after the other.
#pragma once

#include <cstdint>
#include <vector>

#include "functions/layer_table.h"

namespace resnet_nodes {

/// The plan of one evaluation with a tape and of its product.
struct Parts {
  int64_t batch = 0;
  int64_t images = 0;           ///< at a time
  std::vector<bool> keeps;      ///< whether the output of the input (0) and of row r (r + 1) is kept of all images
  std::vector<bool> barriers;   ///< of each row: a normalization whose product needs sums over all images
  std::vector<int64_t> levels;  ///< of each row: how many barriers lie between it and the function's output
  int64_t level_count = 1;

  bool is_whole() const { return images >= batch; }
  /// Products go by the levels of the normalizations that these flags name. A whole tape needs that only where sums
  /// are to be had in one order, whatever the parts.
  void set_barriers(const LayerTable::Function& function, const std::vector<bool>& uses_batch);
};

/// Bytes of a tape on the CPU that the caller has not bounded: a quarter of that of the whole batch, or this if it is
/// more.
constexpr int64_t kTapeBytes = int64_t{8} << 20;
/// No bound.
constexpr int64_t kWholeTape = -1;

/// Of a function at x. `limit`: bytes of the tape and of what its product works with, kept where that can be; 0: the
/// default; kWholeTape. `uses_batch`: of each row, whether it is a normalization by the batch's own statistics.
Parts parts_of(const LayerTable::Function& function, const Tensor& x, int64_t limit,
               const std::vector<bool>& uses_batch);

}  // namespace resnet_nodes
