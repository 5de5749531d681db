#include "tensors/elementwise.h"

#include <string>

#include "resnet_nodes/error.h"
#include "tensors/describe.h"
#include "tensors/layout.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

void check_like(const char* pass, const Argument& argument, const Argument& first) {
  const Tensor &tensor = argument.tensor, &like = first.tensor;
  if (!tensor.defined() || !same_sizes(tensor, like) || tensor.scalar_type() != like.scalar_type() ||
      !same_device(tensor, like)) {
    throw Error(std::string(pass) + ": " + argument.name + " is " + whole_text(tensor) + ", expected " +
                whole_text(like) + " like " + first.name);
  }
}

// Whether a flat loop may write to `out` while it reads `input`: at the same places, or apart. Both are dense.
bool loops_together(const Tensor& input, const Tensor& out) {
  if (!same_dense_layout(input, out)) return false;
  const auto bytes = static_cast<uintptr_t>(out.numel()) * out.element_size();
  const auto from = reinterpret_cast<uintptr_t>(input.const_data_ptr());
  const auto to = reinterpret_cast<uintptr_t>(out.const_data_ptr());
  return from == to || from + bytes <= to || to + bytes <= from;
}

}  // namespace

void check_alike(const char* pass, std::initializer_list<Argument> inputs, const Tensor& out) {
  const Argument& first = *inputs.begin();
  if (!first.tensor.defined() || !is_floating(first.tensor)) {
    throw Error(std::string(pass) + ": " + first.name + " is " + whole_text(first.tensor) + ", expected " +
                kFloatingTypes);
  }
  for (const Argument& input : inputs) check_like(pass, input, first);
  if (out.defined()) check_like(pass, {"out", out}, first);
}

bool has_cpu_kernels(const Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == ScalarType::Float || x.scalar_type() == ScalarType::Double);
}

Tensor written_to(const Tensor& out, const Tensor& result) {
  if (!out.defined()) return result;
  Tensor written = out;
  torch::stable::copy_(written, result);
  return written;
}

DenseArguments::DenseArguments(std::initializer_list<Argument> inputs, const Tensor& given) {
  const Tensor& first = inputs.begin()->tensor;
  out_ = given.defined() ? given : torch::stable::empty_like(first);
  if (!is_dense(out_)) {
    // The target has gaps: compute beside it.
    out_ = torch::stable::empty_like(first);
    copy_back_ = true;
  }
  for (const Argument& input : inputs) {
    if (loops_together(input.tensor, out_)) {
      inputs_[count_++] = input.tensor;
    } else {
      Tensor copy = torch::stable::empty_like(out_);
      torch::stable::copy_(copy, input.tensor);
      inputs_[count_++] = copy;
    }
  }
}

std::array<const void*, DenseArguments::kMost> DenseArguments::memory() const {
  std::array<const void*, kMost> all{};
  for (size_t i = 0; i < count_; ++i) all[i] = inputs_[i].const_data_ptr();
  return all;
}

StepNorms sum_of(const std::vector<StepNorms>& parts) {
  StepNorms sum;
  for (const StepNorms& part : parts) {
    sum.difference += part.difference;
    sum.reference += part.reference;
    sum.state += part.state;
  }
  return sum;
}

Tensor scratch_for(const CudaKernels& kernels, const Tensor& x) {
  return torch::stable::empty(std::vector<int64_t>{kernels.scratch_doubles}, ScalarType::Double, std::nullopt,
                              x.device());
}

Tensor DenseArguments::finish(const Tensor& given) const { return copy_back_ ? written_to(given, out_) : out_; }

}  // namespace resnet_nodes
