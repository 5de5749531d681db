// layout.h: how the elements of tensors lie in memory.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <vector>

namespace resnet_nodes {

using torch::stable::Tensor;

std::vector<int64_t> sizes_of(const Tensor& x);
bool same_sizes(const Tensor& a, const Tensor& b);
/// Whether both begin at the same place: that they are the same memory, for states of one shape.
bool same_memory(const Tensor& a, const Tensor& b);
/// Whether elements of both stand in the same order without gaps, so that a flat loop goes over both.
bool same_dense_layout(const Tensor& a, const Tensor& b);
/// Whether the elements fill their memory, each in a place of its own: not so for slices and for expanded dimensions.
bool is_dense(const Tensor& tensor);
/// x in the layout of a stage's state: channels_last for four dimensions, row-major otherwise. x itself where it has
/// it.
Tensor state_layout(const Tensor& x);
/// A view of `flat`, one dimension of like's elements, with like's sizes and in its layout; row-major where like has
/// gaps.
Tensor laid_out_like(const Tensor& flat, const Tensor& like);

/// Whether the elements of four dimensions stand in channels_last's order, and not in row-major order too, as with one
/// channel or one pixel.
bool is_channels_last(const Tensor& x);
/// Whether the pixels of all images lie one after the other without gaps, all channels of each together.
bool is_pixel_major(const Tensor& x);

// Parts of a tensor along one of its dimensions: images (0), or channels (1).
/// Entries first ... first + count - 1, as a view; x itself where these are all.
Tensor part_of(const Tensor& x, int64_t dimension, int64_t first, int64_t count);
/// New memory for a tensor of `size` entries of which x is a part, in the layout of a stage's state.
Tensor whole_like(const Tensor& x, int64_t dimension, int64_t size);

}  // namespace resnet_nodes
