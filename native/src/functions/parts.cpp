#include "functions/parts.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace resnet_nodes {
namespace {

// Levels of the rows, from the function's output on.
void find_levels(const LayerTable::Function& function, Parts& parts) {
  const size_t rows = function.rows.size();
  parts.levels.assign(rows, 0);
  for (size_t r = rows; r-- > 0;) {
    if (parts.barriers[r]) ++parts.levels[r];
    const LayerTable::Row& row = function.rows[r];
    for (const int64_t source : {row.input, row.is_sum ? row.other : kFunctionInput}) {
      if (source < 0) continue;
      int64_t& level = parts.levels[static_cast<size_t>(source)];
      level = std::max(level, parts.levels[r]);
    }
  }
  parts.level_count = 1 + *std::max_element(parts.levels.begin(), parts.levels.end());
}

struct Outputs {
  std::vector<std::vector<int64_t>> sizes;  // of each row
  std::vector<int64_t> bytes;
};

Outputs outputs_of(const LayerTable::Function& function, const Tensor& x, int64_t element_bytes) {
  Outputs outputs;
  const std::vector<int64_t> given(x.sizes().begin(), x.sizes().end());
  for (const LayerTable::Row& row : function.rows) {
    const std::vector<int64_t>& input = row.input < 0 ? given : outputs.sizes[static_cast<size_t>(row.input)];
    outputs.sizes.push_back(row.layer->output_sizes(input));
    const std::vector<int64_t>& sizes = outputs.sizes.back();
    outputs.bytes.push_back(std::accumulate(sizes.begin(), sizes.end(), element_bytes, std::multiplies<>()));
  }
  return outputs;
}

int64_t tape_of(const LayerTable::Function& function, const std::vector<int64_t>& bytes) {
  int64_t whole = 0;
  for (size_t r = 0; r < bytes.size(); ++r) whole += function.rows[r].is_read_back ? bytes[r] : 0;
  return whole;
}

}  // namespace

Parts parts_of(const LayerTable::Function& function, const Tensor& x, int64_t limit,
               const std::vector<bool>& uses_batch) {
  const size_t rows = function.rows.size();
  Parts parts;
  parts.batch = parts.images = x.size(0);
  parts.keeps.assign(rows + 1, false);
  parts.barriers.assign(rows, false);
  parts.levels.assign(rows, 0);
  const std::vector<int64_t> bytes = outputs_of(function, x, static_cast<int64_t>(x.element_size())).bytes;
  const int64_t whole = tape_of(function, bytes);
  const int64_t most = limit > 0 ? limit : std::max(kTapeBytes, whole / 4);
  if (limit == kWholeTape || whole <= most || parts.batch < 2) {
    parts.keeps[0] = function.reads_input_back;
    for (size_t r = 0; r < rows; ++r) parts.keeps[r + 1] = function.rows[r].is_read_back;
    return parts;
  }
  parts.keeps[0] = true;
  parts.barriers = uses_batch;
  find_levels(function, parts);
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
  const int64_t count =
      (parts.batch + std::clamp<int64_t>(room, 1, parts.batch - 1) - 1) / std::clamp<int64_t>(room, 1, parts.batch - 1);
  parts.images = (parts.batch + count - 1) / count;
  return parts;
}

Footprint footprint_of(const LayerTable& table, int64_t n, const Tensor& x, int64_t tape_bytes) {
  // A value that is written and read: about as long as this many multiply-adds.
  constexpr double kProductsPerValue = 16;
  const LayerTable::Function& function = table.function(n);
  const auto element = static_cast<int64_t>(x.element_size());
  const Outputs outputs = outputs_of(function, x, table.is_mixed() ? element / 2 : element);
  const std::vector<int64_t>& bytes = outputs.bytes;
  Footprint found;
  found.input = x.numel() * element;
  found.output = table.is_mixed() ? 2 * bytes.back() : bytes.back();
  for (size_t r = 0; r < bytes.size(); ++r) {
    const auto values = static_cast<double>(bytes[r]) / static_cast<double>(element);
    found.operations += values * (function.rows[r].layer->products_per_value() + kProductsPerValue);
  }
  if (table.fusion(n, x) != Fusion::none) {
    // What stands behind each of the two convolutions, or products, is all of the tape; the rest is small.
    found.tape = found.product = 2 * found.output;
    return found;
  }
  const int64_t largest = *std::max_element(bytes.begin(), bytes.end());
  const int64_t whole = tape_of(function, bytes);
  found.tape = whole + (function.reads_input_back ? found.input : 0);
  // A layer's input beside its output, and what stands between.
  found.evaluation = 2 * largest;
  std::vector<bool> uses_batch;
  for (const LayerTable::Row& row : function.rows) uses_batch.push_back(row.statistics >= 0);
  const Parts parts = parts_of(function, x, tape_bytes, uses_batch);
  if (parts.is_whole()) {
    found.product = whole + 2 * largest;
    return found;
  }
  int64_t held = 0, between = 0;
  for (size_t r = 0; r < bytes.size(); ++r) {
    held += parts.keeps[r + 1] ? bytes[r] : 0;
    if (uses_batch[r] && r + 1 < bytes.size()) between = std::max(between, bytes[r]);
  }
  found.product = held + 2 * between + (whole + 2 * largest) * parts.images / parts.batch;
  return found;
}

}  // namespace resnet_nodes
