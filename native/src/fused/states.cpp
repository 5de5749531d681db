#include "fused/states.h"

#include <torch/csrc/stable/ops.h>

#include <cstdlib>
#include <string>

#include "resnet_nodes/error.h"
#include "tensors/layout.h"

namespace resnet_nodes {

void FusedTape::keep(const Tensor& state, const std::vector<int64_t>& counts, torch::headeronly::ScalarType type) {
  values.resize(counts.size());
  for (size_t i = 0; i < counts.size(); ++i) {
    if (values[i].defined() && values[i].numel() == counts[i]) continue;
    values[i] = torch::stable::empty(std::vector<int64_t>{counts[i]}, type);
  }
  x = state;
  has_sums = false;
}

void put(const GradientTarget& to, const std::vector<double>& values) {
  if (!to.gradient.defined()) return;
  float* element = target(to.gradient);
  const int64_t stride = to.gradient.stride(0);
  for (size_t c = 0; c < values.size(); ++c, element += stride) {
    *element = static_cast<float>(to.add ? static_cast<double>(*element) + values[c] : values[c]);
  }
}

void add_to(std::vector<double>& total, const float* values) {
  for (size_t c = 0; c < total.size(); ++c) total[c] += static_cast<double>(values[c]);
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
