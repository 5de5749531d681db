// mlp_workspace.h: memory that fused functions Linear - activation - Linear work in, kept by a stage and reused by
// every function of every step.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "fused/memory.h"
#include "kernels/mlp/mlp_kernels.h"

namespace resnet_nodes {

using torch::stable::Tensor;

/// Parameters as they are passed; layer 0 leads to the hidden numbers, layer 1 back.
struct MlpParameters {
  Tensor weight[2];
  Tensor bias[2];  ///< undefined where there is none
};

class MlpWorkspace {
 public:
  /// What one thread writes while it works on some rows; on cache lines of its own.
  struct alignas(64) Slot {
    FloatBuffer hidden;                 // where no tape keeps them
    FloatBuffer gradient;               // of the hidden numbers
    std::atomic<int64_t> next_part{0};  // of those that this thread has the first claim to
  };

  /// Parameters in the kernels' order; see MlpShape.
  struct Packed {
    FloatBuffer weights[2];
    FloatBuffer biases[2];
    bool has_bias[2] = {false, false};
    const float* bias(size_t layer) const { return has_bias[layer] ? biases[layer].data() : nullptr; }
  };

  /// For `rows` rows of `width` numbers, with `hidden` between the layers.
  void prepare(int64_t width, int64_t hidden, int64_t rows, const MlpKernels& loops);
  const MlpShape& shape() const { return shape_; }
  const MlpKernels& loops() const { return *loops_; }
  int64_t blocks() const { return (rows_ + block_ - 1) / block_; }

  const Packed& packed(const PackedKey& key, const MlpParameters& parameters);

  /// body(block, its first row, how many, slot) for blocks of rows that stay in the cache, the same whatever the number
  /// of threads.
  template <typename Body>
  void for_blocks(const Body& body) {
    workers_.for_parts(blocks(), [&](int64_t block, Slot& slot) { run(block, block + 1, slot, body); });
  }

  /// The same where gradients are summed up: body(first row, how many, part, slot) adds to the part's sums,
  /// which start at 0. The parts are added up in order: results do not depend on threads.
  template <typename Body>
  void for_blocks_with_sums(const Body& body) {
    sums_.resize(parts_ * part_size());
    workers_.for_parts(parts_, [&](int64_t part, Slot& slot) {
      start_sums(part);
      run(part * blocks() / parts_, (part + 1) * blocks() / parts_, slot,
          [&](int64_t, int64_t first, int64_t count, Slot&) { body(first, count, part, slot); });
    });
  }
  /// Of a layer's weights, as MlpKernels::outer adds them up.
  float* weight_sums(int64_t part, size_t layer) {
    return sums_.data() + part * part_size() + static_cast<int64_t>(layer) * shape_.columns * shape_.pitch;
  }
  /// Of layer 0's bias as [columns], of layer 1's as `outer` adds it up.
  float* bias_sums(int64_t part, size_t layer) { return weight_sums(part, 2) + (layer == 0 ? shape_.pitch : 0); }
  /// Adds `a` times the parts' sums: to the gradient or in its place.
  void weight_gradient(size_t layer, const Tensor& gradient, double a, bool add);
  void bias_gradient(size_t layer, const Tensor& gradient, double a, bool add);

 private:
  template <typename Body>
  void run(int64_t begin, int64_t end, Slot& slot, const Body& body) {
    slot.hidden.resize(block_ * shape_.columns);
    slot.gradient.resize(block_ * shape_.columns);
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * block_;
      body(block, first, std::min(block_, rows_ - first), slot);
    }
  }
  int64_t part_size() const { return (2 * shape_.columns + 1) * shape_.pitch + lines_of(shape_.columns) * kLine; }
  void start_sums(int64_t part);

  MlpShape shape_;
  const MlpKernels* loops_ = nullptr;
  int64_t rows_ = 0;
  int64_t block_ = 1;
  int64_t parts_ = 1;
  PackedKey packed_key_;
  Packed packed_;
  FloatBuffer sums_;
  Workers<Slot> workers_;
};

}  // namespace resnet_nodes
