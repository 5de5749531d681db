#include "fused/states.h"

#include <torch/csrc/stable/ops.h>

#include <cstdlib>
#include <string>

#include "resnet_nodes/error.h"
#include "tensors/layout.h"

namespace resnet_nodes {

void FusedTape::keep(const Tensor& state) {
  if (!inner.defined() || !same_sizes(inner, state)) {
    inner = torch::stable::empty_like(state);
    outer = torch::stable::empty_like(state);
  }
  x = state;
  has_sums = false;
}

Tensor FusedStates::like(const Tensor& x) {
  if (!spare_.empty() && !same_dense_layout(spare_.back(), x)) spare_.clear();
  Tensor state;
  if (spare_.empty()) {
    state = torch::stable::empty_like(x);
  } else {
    state = spare_.back();
    spare_.pop_back();
  }
  given_[next_++ % given_.size()] = state.const_data_ptr();
  return state;
}

void FusedStates::recycle(const Tensor& state) {
  if (!state.defined()) return;
  for (const void*& given : given_) {
    if (given != state.const_data_ptr()) continue;
    given = nullptr;
    spare_.push_back(state);
    return;
  }
}

void FusedStates::leave() {
  given_.fill(nullptr);
  spare_.clear();
}

bool fusing_is_on() {
  const char* text = std::getenv("RESNET_NODES_FUSED");
  const std::string wanted = text != nullptr ? text : "";
  if (wanted != "" && wanted != "on" && wanted != "off") {
    throw Error("RESNET_NODES_FUSED is " + wanted + ", expected on or off");
  }
  return wanted != "off";
}

}  // namespace resnet_nodes
