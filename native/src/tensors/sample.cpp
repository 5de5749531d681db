#include "tensors/sample.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "tensors/dispatcher.h"

namespace resnet_nodes {
namespace {

// Places start, start + step, ... of one dimension.
struct Places {
  int64_t start, step, count;
};

std::vector<Places> places_of(const Tensor& x, int64_t number) {
  std::vector<Places> places;
  auto left = static_cast<double>(number);
  for (int64_t d = 0; d < x.dim(); ++d) {
    const auto share = std::pow(left, 1 / static_cast<double>(x.dim() - d));
    const int64_t most = d == 0 && x.dim() > 1 ? number / 4 : static_cast<int64_t>(share + 1e-9);
    const int64_t count = std::clamp<int64_t>(most, 1, x.size(d));
    const int64_t step = x.size(d) / count;
    places.push_back({step / 2, step, count});
    left /= static_cast<double>(count);
  }
  return places;
}

template <typename T>
T* gather(T* to, const T* from, const Tensor& x, const std::vector<Places>& places, size_t d) {
  if (d == places.size()) {
    *to = *from;
    return to + 1;
  }
  const int64_t stride = x.stride(static_cast<int64_t>(d));
  for (int64_t i = 0; i < places[d].count; ++i) {
    to = gather(to, from + (places[d].start + i * places[d].step) * stride, x, places, d + 1);
  }
  return to;
}

template <typename T>
void gather_all(const Tensor& to, const Tensor& x, const std::vector<Places>& places) {
  gather(static_cast<T*>(to.mutable_data_ptr()), static_cast<const T*>(x.const_data_ptr()), x, places, 0);
}

}  // namespace

Tensor sampled(const Tensor& x, int64_t most) {
  const std::vector<Places> places = places_of(x, most);
  int64_t count = 1;
  for (const Places& place : places) count *= place.count;
  if (!x.is_cpu()) {
    Tensor view = x;
    for (size_t d = 0; d < places.size(); ++d) {
      const auto [start, step, number] = places[d];
      view = call_operator<1>("aten::slice", "Tensor", view, static_cast<int64_t>(d), std::optional<int64_t>(start),
                              std::optional<int64_t>(start + (number - 1) * step + 1), step)[0];
    }
    const Tensor copy = call_operator<1>("aten::reshape", "", view, std::vector<int64_t>{count})[0];
    return count == x.numel() ? torch::stable::clone(copy) : copy;
  }
  const Tensor result = torch::stable::new_empty(x, std::vector<int64_t>{count});
  switch (x.element_size()) {
    case 8:
      gather_all<int64_t>(result, x, places);
      break;
    case 4:
      gather_all<int32_t>(result, x, places);
      break;
    default:
      gather_all<int16_t>(result, x, places);
  }
  return result;
}

Samples::Samples(int64_t states) : states_(states), most_(std::clamp<int64_t>(16384 / states, 16, 256)) {}

void Samples::take(int64_t n, const Tensor& x) {
  const Tensor sample = like(x);
  if (!taken()) all_ = torch::stable::new_empty(x, std::vector<int64_t>{states_, sample.numel()});
  Tensor row = of(n);
  torch::stable::copy_(row, sample);
}

Tensor Samples::of(int64_t n) const {
  Tensor all = all_;
  return torch::stable::select(all, 0, n);
}

}  // namespace resnet_nodes
