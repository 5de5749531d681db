// dispatcher.h: the one door to LibTorch's dispatcher, which reaches every operator by its name. The stack, boxed
// values and their ownership stay in here.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/c/shim.h>
#include <torch/csrc/stable/stableivalue_conversions.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <optional>

namespace resnet_nodes {

using torch::stable::Tensor;

/// Throws Error: the operator, and LibTorch's reason.
[[noreturn]] void fail_operator(const char* name);

/// Calls an operator with its arguments on the stack, where its results are then. Throws Error where LibTorch refuses.
inline void call_stack(const char* name, const char* overload, StableIValue* stack) {
  if (torch_call_dispatcher(name, overload, stack, TORCH_ABI_VERSION) != AOTI_TORCH_SUCCESS) fail_operator(name);
}

/// Calls an operator whose `kResults` results are tensors, such as call_operator<1>("aten::mul", "Tensor", x, y)[0].
/// Arguments are what the stable ABI carries: tensors, numbers (as tensors of no dimension: it has no Scalar), lists,
/// optionals, flags. Every result is taken off the stack, so that none leaks. Throws Error where LibTorch refuses.
template <size_t kResults, typename... Arguments>
std::array<Tensor, kResults> call_operator(const char* name, const char* overload, const Arguments&... arguments) {
  constexpr size_t kSlots = sizeof...(Arguments) > kResults ? sizeof...(Arguments) : kResults;
  std::array<StableIValue, kSlots> stack{torch::stable::detail::from(arguments)...};
  call_stack(name, overload, stack.data());
  std::array<Tensor, kResults> results;
  for (size_t i = 0; i < kResults; ++i) results[i] = torch::stable::detail::to<Tensor>(stack[i]);
  return results;
}

/// Calls an operator that tells a number of a tensor.
inline int64_t call_for_number(const char* name, const char* overload, const Tensor& tensor) {
  StableIValue stack = torch::stable::detail::from(tensor);
  call_stack(name, overload, &stack);
  return torch::stable::detail::to<int64_t>(stack);
}

/// What operators take where a tensor may be left out.
inline std::optional<Tensor> optional(const Tensor& tensor) {
  return tensor.defined() ? std::optional<Tensor>(tensor) : std::nullopt;
}

}  // namespace resnet_nodes
