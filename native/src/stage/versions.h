// versions.h: whether what a way back reads of its caller's tensors is as the forward pass found it.
#pragma once

#include <cstdint>
#include <vector>

#include "stage/pass.h"

namespace resnet_nodes {

/// The caller's tensors that one way back reads again. A forward pass binds them, so that it is the same tensors
/// whatever becomes of the modules that they came from; their values can only be changed in place.
class Versions {
 public:
  /// Throws Error where it is an inference tensor.
  void note_parameters(const std::vector<Tensor>& parameters);
  void note_input(const Tensor& x);
  void note_output(const Tensor& output);
  /// Throws Error that names the first tensor that was changed since.
  void check(const PassPlan& plan) const;

 private:
  struct Noted {
    Tensor tensor;
    const void* memory;
    int64_t version;
  };

  static Noted noted(const Tensor& tensor);

  std::vector<Noted> parameters_;
  std::vector<Noted> input_, output_;  // one, or none
};

}  // namespace resnet_nodes
