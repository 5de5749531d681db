// readback.h: numbers on their way from the device to the host, without blocking.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <vector>

namespace resnet_nodes {

using torch::stable::Tensor;

/// A copy that begins when this is made, on the current stream, and that nothing waits for.
class Readback {
 public:
  /// `numbers`: [k] float64, on any device; not changed afterwards.
  explicit Readback(const Tensor& numbers);
  /// Whether the numbers are there. Never waits.
  bool arrived() const;
  /// The numbers; waits for the device where they are not there yet.
  std::vector<double> values() const;

 private:
  Tensor numbers_;
  Tensor host_;  // [k + 1]: the last turns from 0 to 1 when the others are there
};

}  // namespace resnet_nodes
