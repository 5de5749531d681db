// sample.h: a few elements of a state, by which it is known again.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace resnet_nodes {

using torch::stable::Tensor;

/// At most `most` elements of x, in a tensor of one dimension: of as many images (rows of the first dimension) as a
/// quarter of that, spread evenly over the other dimensions. The same places in all tensors of a shape, whatever their
/// layout.
Tensor sampled(const Tensor& x, int64_t most);

/// Samples of N states of one shape: together 16,384 elements at most, and 256 of each, but always 16.
class Samples {
 public:
  explicit Samples(int64_t states);
  /// Takes that of x_n.
  void take(int64_t n, const Tensor& x);
  /// Whether there are any.
  bool taken() const { return all_.defined(); }
  /// That of a tensor like x_n, and that of x_n.
  Tensor like(const Tensor& x) const { return sampled(x, most_); }
  Tensor of(int64_t n) const;

 private:
  int64_t states_, most_;
  Tensor all_;  // [states, elements]
};

}  // namespace resnet_nodes
