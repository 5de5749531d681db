#include "tensors/layout.h"

#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/core/MemoryFormat.h>

#include <optional>

#include "tensors/dispatcher.h"

namespace resnet_nodes {

std::vector<int64_t> sizes_of(const Tensor& x) { return {x.sizes().begin(), x.sizes().end()}; }

bool same_sizes(const Tensor& a, const Tensor& b) {
  if (a.dim() != b.dim()) return false;
  for (int64_t i = 0; i < a.dim(); ++i) {
    if (a.size(i) != b.size(i)) return false;
  }
  return true;
}

bool same_memory(const Tensor& a, const Tensor& b) { return a.const_data_ptr() == b.const_data_ptr(); }

bool same_dense_layout(const Tensor& a, const Tensor& b) {
  if (a.scalar_type() != b.scalar_type() || !same_sizes(a, b)) return false;
  int64_t span = 1;
  for (int64_t i = 0; i < a.dim(); ++i) {
    if (a.size(i) > 1 && a.stride(i) != b.stride(i)) return false;
    span += (a.size(i) - 1) * a.stride(i);
  }
  return span == a.numel();
}

bool is_dense(const Tensor& tensor) {
  int64_t filled = 1;
  for (bool found = true; found;) {
    found = false;
    for (int64_t i = 0; i < tensor.dim(); ++i) {
      if (tensor.size(i) <= 1 || tensor.stride(i) != filled) continue;
      filled *= tensor.size(i);
      found = true;
    }
  }
  return filled == tensor.numel() || tensor.numel() == 0;
}

Tensor state_layout(const Tensor& x) {
  using torch::headeronly::MemoryFormat;
  const MemoryFormat format = x.dim() == 4 ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  return call_operator<1>("aten::contiguous", "", x, format)[0];
}

Tensor laid_out_like(const Tensor& flat, const Tensor& like) {
  if (!is_dense(like)) return torch::stable::view(flat, sizes_of(like));
  const std::vector<int64_t> strides(like.strides().begin(), like.strides().end());
  return call_operator<1>("aten::as_strided", "", flat, sizes_of(like), strides, std::optional<int64_t>())[0];
}

bool is_pixel_major(const Tensor& x) {
  const int64_t c = x.size(1), h = x.size(2), w = x.size(3);
  const auto is = [&](int64_t i, int64_t stride) { return x.size(i) == 1 || x.stride(i) == stride; };
  return is(0, c * h * w) && is(1, 1) && is(2, w * c) && is(3, c);
}

Tensor part_of(const Tensor& x, int64_t dimension, int64_t first, int64_t count) {
  if (first == 0 && count == x.size(dimension)) return x;
  Tensor all = x;
  return torch::stable::narrow(all, dimension, first, count);
}

Tensor whole_like(const Tensor& x, int64_t dimension, int64_t size) {
  std::vector<int64_t> sizes = sizes_of(x);
  sizes[static_cast<size_t>(dimension)] = size;
  if (x.dim() != 4) return torch::stable::new_empty(x, sizes);
  const Tensor pixels = torch::stable::new_empty(x, std::vector<int64_t>{sizes[0], sizes[2], sizes[3], sizes[1]});
  return call_operator<1>("aten::permute", "", pixels, std::vector<int64_t>{0, 3, 1, 2})[0];
}

bool is_channels_last(const Tensor& x) { return x.dim() == 4 && !x.is_contiguous() && x.stride(1) == 1; }

}  // namespace resnet_nodes
