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
  /// Throws Error that names an inference tensor.
  void note_parameters(const PassPlan& plan, const std::vector<Tensor>& parameters);
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

  template <typename Name>
  static void note(std::vector<Noted>& list, const Tensor& tensor, const Name& name);

  std::vector<Noted> parameters_;
  std::vector<Noted> input_, output_;  // one, or none
};

}  // namespace resnet_nodes
