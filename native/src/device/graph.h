// graph.h: what a pass launches, recorded once, to be launched again at once.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <functional>
#include <vector>

namespace resnet_nodes {

using torch::stable::Tensor;

/// What captures have in common: the name of their memory (LibTorch's MempoolId_t) and the stream that they are
/// recorded on, by which LibTorch tells apart what is freed. They are replayed one after the other; what a pass frees
/// serves the next one recorded, what it returns stays apart while somebody holds it.
struct GraphPool {
  unsigned long long first = 0, second = 0;
  void* stream = nullptr;
};

/// One recorded pass.
class GraphCapture {
 public:
  /// Computes with tensors that stay where they are, and returns the results. Waits for nothing.
  using Pass = std::function<std::vector<Tensor>()>;

  virtual ~GraphCapture() = default;
  /// Records what `pass` does; nothing is computed. Throws Error, with the reason and what to do, where something in it
  /// can't be recorded; recording has ended then, and the object is of no more use.
  virtual void record(const Pass& pass) = 0;
  /// Computes what was recorded, with what the pass's tensors now hold, on the current stream. The results are the same
  /// tensors every time, written anew.
  virtual const std::vector<Tensor>& replay() = 0;
};

}  // namespace resnet_nodes
