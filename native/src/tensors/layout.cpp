#include "tensors/layout.h"

#include <torch/headeronly/core/MemoryFormat.h>

#include "tensors/dispatcher.h"

namespace resnet_nodes {

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

bool is_channels_last(const Tensor& x) { return x.dim() == 4 && !x.is_contiguous() && x.stride(1) == 1; }

}  // namespace resnet_nodes
