// tensor_typemaps.i: Tensor <-> TorchSharp.torch.Tensor, and lists of them. No data is copied.

%{
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdlib>

namespace {

using torch::stable::Tensor;

// A second owner of a tensor that C# owns; null stands for an undefined tensor.
Tensor borrow(void* handle) {
  if (handle == nullptr) return Tensor();
  AtenTensorHandle owner = nullptr;
  if (aoti_torch_new_tensor_handle(static_cast<AtenTensorHandle>(handle), &owner) != AOTI_TORCH_SUCCESS) {
    throw resnet_nodes::Error("a tensor's handle can't be used; was the tensor disposed?");
  }
  return Tensor(owner);
}

// A handle for C# to own; null for an undefined tensor.
void* give(const Tensor& tensor) {
  if (!tensor.defined()) return nullptr;
  AtenTensorHandle owner = nullptr;
  if (aoti_torch_new_tensor_handle(tensor.get(), &owner) != AOTI_TORCH_SUCCESS) {
    throw resnet_nodes::Error("no handle could be made for a tensor");
  }
  return owner;
}

// Lists travel as an array whose first entry is their length.
std::vector<Tensor> borrow_list(void** handles) {
  const auto count = reinterpret_cast<intptr_t>(handles[0]);
  std::vector<Tensor> tensors;
  tensors.reserve(static_cast<size_t>(count));
  for (intptr_t i = 1; i <= count; ++i) tensors.push_back(borrow(handles[i]));
  return tensors;
}

void* give_list(const std::vector<Tensor>& tensors) {
  auto** handles = static_cast<void**>(std::malloc((tensors.size() + 1) * sizeof(void*)));
  if (handles == nullptr) throw std::bad_alloc();
  handles[0] = reinterpret_cast<void*>(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) handles[i + 1] = give(tensors[i]);
  return handles;
}

}  // namespace
%}

namespace torch { namespace stable { class Tensor; } }
%ignore torch::stable::Tensor;

%typemap(ctype) const torch::stable::Tensor & "void *"
%typemap(imtype) const torch::stable::Tensor & "global::System.Runtime.InteropServices.HandleRef"
%typemap(cstype) const torch::stable::Tensor & "global::TorchSharp.torch.Tensor"
%typemap(csin) const torch::stable::Tensor & "TensorMarshal.Borrow($csinput)"
%typemap(in, canthrow=1) const torch::stable::Tensor & (torch::stable::Tensor temporary) %{
  try {
    temporary = borrow($input);
  } catch (const std::exception& e) {
    resnet_nodes_set_pending(kLibraryError, e.what());
    return $null;
  }
  $1 = &temporary;
%}

%typemap(ctype) torch::stable::Tensor "void *"
%typemap(imtype) torch::stable::Tensor "global::System.IntPtr"
%typemap(cstype) torch::stable::Tensor "global::TorchSharp.torch.Tensor"
%typemap(out) torch::stable::Tensor %{ $result = give($1); %}
%typemap(csout, excode=SWIGEXCODE) torch::stable::Tensor {
    global::System.IntPtr handle = $imcall;$excode
    return TensorMarshal.Own(handle);
  }

%typemap(ctype) const std::vector<torch::stable::Tensor> & "void **"
%typemap(imtype) const std::vector<torch::stable::Tensor> & "global::System.IntPtr[]"
%typemap(cstype) const std::vector<torch::stable::Tensor> & "global::System.Collections.Generic.IReadOnlyList<global::TorchSharp.torch.Tensor>"
%typemap(csin, post="      global::System.GC.KeepAlive($csinput);") const std::vector<torch::stable::Tensor> & "TensorMarshal.BorrowList($csinput)"
%typemap(in, canthrow=1) const std::vector<torch::stable::Tensor> & (std::vector<torch::stable::Tensor> temporary) %{
  try {
    temporary = borrow_list($input);
  } catch (const std::exception& e) {
    resnet_nodes_set_pending(kLibraryError, e.what());
    return $null;
  }
  $1 = &temporary;
%}

%typemap(ctype) std::vector<torch::stable::Tensor> "void *"
%typemap(imtype) std::vector<torch::stable::Tensor> "global::System.IntPtr"
%typemap(cstype) std::vector<torch::stable::Tensor> "global::TorchSharp.torch.Tensor[]"
%typemap(out) std::vector<torch::stable::Tensor> %{ $result = give_list($1); %}
%typemap(csout, excode=SWIGEXCODE) std::vector<torch::stable::Tensor> {
    global::System.IntPtr handles = $imcall;$excode
    return TensorMarshal.OwnList(handles);
  }

// Flags: an array whose first entry is its length, as lists of tensors.
%typemap(ctype) const std::vector<int32_t> & "int *"
%typemap(imtype) const std::vector<int32_t> & "int[]"
%typemap(cstype) const std::vector<int32_t> & "int[]"
%typemap(csin) const std::vector<int32_t> & "TensorMarshal.WithLength($csinput)"
%typemap(in) const std::vector<int32_t> & (std::vector<int32_t> temporary) %{
  temporary.assign($input + 1, $input + 1 + $input[0]);
  $1 = &temporary;
%}
