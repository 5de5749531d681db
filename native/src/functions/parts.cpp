#include "functions/parts.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "tensors/layout.h"

namespace resnet_nodes {
namespace {

// Levels of the rows, from the function's output on.
void find_levels(const LayerTable::Function& function, Parts& parts) {
  const size_t rows = function.rows.size();
  parts.levels.assign(rows, 0);
  for (size_t r = rows; r-- > 0;) {
    if (parts.barriers[r]) ++parts.levels[r];
    const LayerTable::Row& row = function.rows[r];
    for (const int64_t source : {row.input, row.other}) {
      if (source < 0) continue;
      int64_t& level = parts.levels[static_cast<size_t>(source)];
      level = std::max(level, parts.levels[r]);
    }
  }
  parts.level_count = 1 + *std::max_element(parts.levels.begin(), parts.levels.end());
}

// Bytes of each row's output.
std::vector<int64_t> output_bytes(const LayerTable::Function& function, const Tensor& x) {
  const std::vector<int64_t> given = sizes_of(x);
  std::vector<std::vector<int64_t>> sizes;
  std::vector<int64_t> bytes;
  for (const LayerTable::Row& row : function.rows) {
    sizes.push_back(row.layer->output_sizes(row.input < 0 ? given : sizes[static_cast<size_t>(row.input)]));
    bytes.push_back(std::accumulate(sizes.back().begin(), sizes.back().end(), static_cast<int64_t>(x.element_size()),
                                    std::multiplies<>()));
  }
  return bytes;
}

int64_t tape_of(const LayerTable::Function& function, const std::vector<int64_t>& bytes) {
  int64_t whole = 0;
  for (size_t r = 0; r < bytes.size(); ++r) whole += function.rows[r].is_read_back ? bytes[r] : 0;
  return whole;
}

}  // namespace

void Parts::set_barriers(const LayerTable::Function& function, const std::vector<bool>& uses_batch) {
  barriers = uses_batch;
  find_levels(function, *this);
}

Parts parts_of(const LayerTable::Function& function, const Tensor& x, int64_t limit,
               const std::vector<bool>& uses_batch) {
  const size_t rows = function.rows.size();
  Parts parts;
  parts.batch = parts.images = x.size(0);
  parts.keeps.assign(rows + 1, false);
  parts.barriers.assign(rows, false);
  parts.levels.assign(rows, 0);
  const std::vector<int64_t> bytes = output_bytes(function, x);
  const int64_t whole = tape_of(function, bytes);
  const int64_t most = limit > 0 ? limit : std::max(kTapeBytes, whole / 4);
  // A single row of numbers has no images.
  // An accelerator is fast with many images at a time alone.
  const bool bounded = limit > 0 || (limit == 0 && x.is_cpu());
  if (!bounded || whole <= most || parts.batch < 2 || x.dim() < 2) {
    parts.keeps[0] = function.reads_input_back;
    for (size_t r = 0; r < rows; ++r) parts.keeps[r + 1] = function.rows[r].is_read_back;
    return parts;
  }
  parts.keeps[0] = true;
  parts.set_barriers(function, uses_batch);
  // What normalizations are given is kept where there is room: it saves the evaluation of what lies before. Of a
  // product two cotangents are in between two levels.
  std::vector<size_t> kept;
  int64_t held = 0;
  for (size_t r = 0; r < rows; ++r) {
    if (!uses_batch[r] || function.rows[r].input < 0) continue;
    kept.push_back(static_cast<size_t>(function.rows[r].input));
    held += bytes[kept.back()];
  }
  std::stable_sort(kept.begin(), kept.end(), [&](size_t a, size_t b) { return bytes[a] < bytes[b]; });
  const int64_t between = kept.empty() ? 0 : bytes[kept.front()];
  while (!kept.empty() && held + between + whole / 8 > most) {
    held -= bytes[kept.back()];
    kept.pop_back();
  }
  for (const size_t row : kept) parts.keeps[row + 1] = true;
  const double per_image = static_cast<double>(whole) / static_cast<double>(parts.batch);
  const auto room = static_cast<int64_t>(static_cast<double>(most - held - between) / per_image);
  // Parts of one size, as far as that goes.
  const int64_t most_images = std::clamp<int64_t>(room, 1, parts.batch - 1);
  const int64_t count = (parts.batch + most_images - 1) / most_images;
  parts.images = (parts.batch + count - 1) / count;
  return parts;
}

}  // namespace resnet_nodes
