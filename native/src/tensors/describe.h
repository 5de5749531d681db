// describe.h: tensors as error messages name them.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace resnet_nodes {

using torch::stable::Tensor;

/// "[128, 16, 10, 10]".
std::string sizes_text(const std::vector<int64_t>& sizes);
/// The same of a tensor's sizes; "undefined" where it is.
std::string shape_text(const Tensor& tensor);
/// "float32"; the number of the type where it has no name here.
std::string dtype_text(const Tensor& tensor);
/// "cpu", "cuda:1".
std::string device_text(const Tensor& tensor);
/// "float32 [128, 16] on cpu".
std::string whole_text(const Tensor& tensor);

/// The types that the engine computes in.
constexpr const char* kFloatingTypes = "float32, float64, bfloat16 or float16";
bool is_floating(const Tensor& tensor);
bool same_device(const Tensor& a, const Tensor& b);

}  // namespace resnet_nodes
