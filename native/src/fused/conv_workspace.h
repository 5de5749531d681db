// conv_workspace.h: memory that fused residual functions work in, kept by a stage and reused by every function of
// every step. Nothing that leaves the engine lies in it.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "fused/memory.h"
#include "kernels/paths/kernel_path.h"

namespace resnet_nodes {

using torch::stable::Tensor;

/// An image of these sizes, in blocks as wide as its channels allow.
ConvShape image_shape(int64_t channels, int64_t height, int64_t width);
int64_t dense_size(const ConvShape& image);
int64_t bordered_size(const ConvShape& image);
/// Of one convolution's weights: the taps themselves, and transformed as the kernels take them.
int64_t weight_size(const ConvShape& image);
int64_t transformed_weight_size(const ConvShape& image);
/// Of what a convolution or a weight gradient works in.
int64_t scratch_size(const ConvShape& image);

class ConvWorkspace {
 public:
  /// What one thread writes while it works on an image; on cache lines of its own.
  struct alignas(64) Slot {
    FloatBuffer input;                  // bordered
    FloatBuffer gradient;               // bordered
    FloatBuffer inner, outer;           // dense: what the two convolutions give where no tape keeps it
    FloatBuffer scratch;                // of the convolutions
    FloatBuffer weight_sums;            // of the part's images, for transformed weights
    std::atomic<int64_t> next_part{0};  // of those that this thread has the first claim to
  };

  void prepare(const ConvShape& image, int64_t batch, const KernelPath& path);
  const ConvShape& image() const { return image_; }
  int64_t batch() const { return batch_; }
  const ConvKernels& kernels() const { return *kernels_; }

  /// The weights of convolution 0 or 1 in the kernels' order; with `transposed`, those of its input gradient.
  const float* packed(const PackedKey& key, size_t convolution, bool transposed, const Tensor& weight);

  /// Two numbers a channel for each image.
  float* image_sums(int64_t image) { return image_sums_.data() + image * 2 * image_.channels; }
  float* coefficients(size_t index) { return coefficients_.data() + static_cast<int64_t>(index) * image_.channels; }
  float* bias(size_t convolution) { return biases_[convolution].resize(image_.channels); }
  /// Of the whole batch, as the convolutions' outputs of a forward pass without a tape.
  float* inner() { return inner_.resize(batch_ * dense_size(image_)); }
  float* outer() { return outer_.resize(batch_ * dense_size(image_)); }

  /// The batch in parts, a number that only the shape decides. Each part has sums of its own, added up in order:
  /// results do not depend on threads.
  float* weight_sums(int64_t part) { return weight_sums_.data() + part * weight_size(image_); }
  float* bias_sums(int64_t part) { return bias_sums_.data() + part * image_.channels; }
  /// Adds the parts' sums up: to the gradient or in its place.
  void weight_gradient(const Tensor& gradient, bool add);
  void bias_gradient(const Tensor& gradient, bool add);

  /// body(image, slot) for each image of the batch.
  template <typename Body>
  void for_images(const Body& body) {
    for_parts([&](int64_t, int64_t first, int64_t end, Slot& slot) {
      for (int64_t image = first; image < end; ++image) body(image, slot);
    });
  }

  /// body(image, part, slot) for each image of the batch, where the convolution whose weights are differentiated adds
  /// to slot.weight_sums and bias_sums(part), which start at 0. `weights`: whether the former are wanted.
  template <typename Body>
  void for_images_with_sums(bool weights, const Body& body) {
    for_parts([&](int64_t part, int64_t first, int64_t end, Slot& slot) {
      start_sums(part, weights, slot);
      for (int64_t image = first; image < end; ++image) body(image, part, slot);
      if (weights) finish_sums(part, slot);
    });
  }

 private:
  // body(part, first image, behind the last, slot).
  template <typename Body>
  void for_parts(const Body& body) {
    workers_.for_parts(parts_, [&](int64_t part, Slot& slot) {
      prepare(slot);
      body(part, part * batch_ / parts_, (part + 1) * batch_ / parts_, slot);
    });
  }
  void prepare(Slot& slot) const;
  void start_sums(int64_t part, bool weights, Slot& slot);
  void finish_sums(int64_t part, Slot& slot);

  ConvShape image_;
  int64_t batch_ = 0;
  int64_t parts_ = 0;
  const ConvKernels* kernels_ = nullptr;
  PackedKey packed_key_;
  std::array<FloatBuffer, 4> packed_;
  std::array<bool, 4> packed_ready_{};
  std::array<FloatBuffer, 2> biases_;
  FloatBuffer image_sums_, coefficients_, inner_, outer_, weight_sums_, bias_sums_;
  Workers<Slot> workers_;
};

}  // namespace resnet_nodes
