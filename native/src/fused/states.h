// states.h: what fused functions of any kind keep and write: tapes, states of a pass, gradients of parameters.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <array>
#include <vector>

#include "fused/memory.h"

namespace resnet_nodes {

using torch::stable::Tensor;

/// What one evaluation keeps.
struct FusedTape {
  Tensor x;
  /// What each convolution gives, dense; of a multilayer perceptron: the hidden numbers, activated.
  std::vector<Tensor> values;
  /// For each group of images the sums of g and of g (value - mean) of the last convolution, where the evaluation knew
  /// the cotangent.
  FloatBuffer sums;
  bool has_sums = false;

  /// Of f at x, with values of so many numbers of this type: their memory is used again where it fits.
  void keep(const Tensor& x, const std::vector<int64_t>& counts,
            torch::headeronly::ScalarType type = torch::headeronly::ScalarType::Float);
};

/// Where a parameter's gradient goes; undefined: it is not wanted.
struct GradientTarget {
  Tensor gradient;
  bool add = false;
};
/// To a vector's gradient, or in its place.
void put(const GradientTarget& to, const std::vector<double>& values);
/// total += values.
void add_to(std::vector<double>& total, const float* values);

/// The states of one pass. Memory of those that nobody reads any more is used again: fresh memory costs a page fault
/// for each 4 KiB.
class FusedStates {
 public:
  Tensor like(const Tensor& x);
  void recycle(const Tensor& state);
  /// What was given out belongs to others from here on.
  void leave();

 private:
  std::array<const void*, 16> given_{};  // the latest; addresses alone, so that nothing is kept alive
  size_t next_ = 0;
  std::vector<Tensor> spare_;
};

/// False where the environment variable RESNET_NODES_FUSED is off. Throws Error where it is neither on nor off.
bool fusing_is_on();

}  // namespace resnet_nodes
