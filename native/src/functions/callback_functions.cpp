#include "functions/callback_functions.h"

#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <atomic>
#include <string>
#include <utility>

#include "resnet_nodes/error.h"
#include "tensors/describe.h"
#include "tensors/layout.h"

namespace resnet_nodes {
namespace {

using EvaluateFunction = int32_t (*)(void*, int64_t, int64_t, int32_t, int64_t, void*, void**);
using VjpFunction = int32_t (*)(void*, int64_t, int64_t, void*, void**);
using DropFunction = void (*)(void*, int64_t);

// A slot of the caller, returned when the tape is destroyed.
class CallbackTape final : public Tape {
 public:
  CallbackTape(const CallbackTable& callbacks, int64_t slot) : callbacks_(callbacks), slot_(slot) {}
  ~CallbackTape() override { reinterpret_cast<DropFunction>(callbacks_.drop)(callbacks_.user, slot_); }
  CallbackTape(const CallbackTape&) = delete;
  CallbackTape& operator=(const CallbackTape&) = delete;
  int64_t slot() const { return slot_; }

  Tensor x;  ///< what it was written at, where products are compared with that

 private:
  CallbackTable callbacks_;
  int64_t slot_;
};

// A new owner of the same tensor, as a plain handle.
AtenTensorHandle new_owner(const Tensor& tensor) {
  AtenTensorHandle handle = nullptr;
  if (aoti_torch_new_tensor_handle(tensor.get(), &handle) != AOTI_TORCH_SUCCESS) {
    throw Error("callback: a tensor's handle could not be created");
  }
  return handle;
}

Tensor borrowed_result(void* result, const std::string& name) {
  if (result == nullptr) throw Error(name + " returned no tensor");
  AtenTensorHandle handle = nullptr;
  if (aoti_torch_new_tensor_handle(static_cast<AtenTensorHandle>(result), &handle) != AOTI_TORCH_SUCCESS) {
    throw Error(name + " returned something that is not a tensor");
  }
  return Tensor(handle);
}

Tensor checked(const Tensor& tensor, const Tensor& like, const std::string& name) {
  if (!same_sizes(tensor, like) || tensor.scalar_type() != like.scalar_type() || !same_device(tensor, like)) {
    throw Error(name + " is " + whole_text(tensor) + ", expected " + whole_text(like));
  }
  return tensor;
}

}  // namespace

void CallbackFunctions::check(const CallbackTable& callbacks) {
  if (callbacks.evaluate == nullptr) throw Error("callbacks.evaluate is null, expected the address of a function");
  if (callbacks.vjp == nullptr) throw Error("callbacks.vjp is null, expected the address of a function");
  if (callbacks.drop == nullptr) throw Error("callbacks.drop is null, expected the address of a function");
}

CallbackFunctions::CallbackFunctions(const CallbackTable& callbacks, bool keep_shape)
    : callbacks_(callbacks), keep_shape_(keep_shape) {}

std::unique_ptr<Tape> CallbackFunctions::make_tape() {
  // Passes of one stage that are under way at once share the outside, and so the slots.
  static std::atomic<int64_t> next_slot{0};
  return std::make_unique<CallbackTape>(callbacks_, next_slot++);
}

Tensor CallbackFunctions::evaluate(Use use, const Tensor& x, Evaluation evaluation, Tape* tape) {
  const int64_t slot = tape != nullptr ? static_cast<CallbackTape*>(tape)->slot() : -1;
  void* result = nullptr;
  const int32_t status = reinterpret_cast<EvaluateFunction>(callbacks_.evaluate)(
      callbacks_.user, use.function, use.index, static_cast<int32_t>(evaluation), slot, new_owner(x), &result);
  if (status != 0)
    throw CallbackError("evaluation of function " + std::to_string(use.function) + " failed in the callback");
  const std::string name = "evaluation of function " + std::to_string(use.function);
  const Tensor tensor = borrowed_result(result, name);
  if (tape != nullptr && !keep_shape_) static_cast<CallbackTape*>(tape)->x = x;
  return keep_shape_ ? checked(tensor, x, name) : tensor;
}

Tensor CallbackFunctions::forward(Use use, const Tensor& x, Tape* tape) {
  return evaluate(use, x, tape != nullptr ? Evaluation::forward_tape : Evaluation::forward, tape);
}

Tensor CallbackFunctions::replay(Use use, const Tensor& x, Tape* tape) {
  return evaluate(use, x, tape != nullptr ? Evaluation::tape : Evaluation::replay, tape);
}

Tensor CallbackFunctions::vjp(Use use, Tape& tape, const Tensor& cotangent) {
  void* result = nullptr;
  const int32_t status = reinterpret_cast<VjpFunction>(callbacks_.vjp)(
      callbacks_.user, use.function, static_cast<CallbackTape&>(tape).slot(), new_owner(cotangent), &result);
  if (status != 0) {
    throw CallbackError("vector-Jacobian product of function " + std::to_string(use.function) +
                        " failed in the callback");
  }
  // Nothing comes back where a function alone is not to differentiate its input.
  if (result == nullptr && !keep_shape_) return Tensor();
  const std::string name = "vector-Jacobian product of function " + std::to_string(use.function);
  const Tensor x = std::exchange(static_cast<CallbackTape&>(tape).x, Tensor());
  return checked(borrowed_result(result, name), keep_shape_ ? cotangent : x, name);
}

}  // namespace resnet_nodes
