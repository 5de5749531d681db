#include "resnet_nodes/host.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <unordered_map>
#include <utility>

#include "host/plt_hook.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

// Hooks are never destroyed: other threads may still call what they redirect while the process ends.

// --- Random numbers -------------------------------------------------------------------------------------------------
// Whoever draws on the CPU without naming a generator asks at::detail::getDefaultCPUGenerator for one; it returns a
// reference. LibTorch's own kernels call it through a slot as well.

thread_local void* thread_generator = nullptr;
// The hook's losses when this thread last changed its generator.
thread_local uint64_t thread_losses = 0;

void* default_generator();

PltHook& generator_hook() {
  static PltHook& hook =
      *new PltHook("_ZN2at6detail22getDefaultCPUGeneratorEv", reinterpret_cast<void*>(default_generator));
  return hook;
}

void* default_generator() {
  if (thread_generator != nullptr) return thread_generator;
  return reinterpret_cast<void* (*)()>(generator_hook().original())();
}

// --- Errors ---------------------------------------------------------------------------------------------------------
// TorchSharp's native library keeps the text of a C++ exception by strdup, for the check after its call.

constexpr const char* kTorchSharp = "libLibTorchSharp.so";
// What the next strdup of TorchSharp on this thread returns; from malloc, as its results.
thread_local char* next_text = nullptr;

char* duplicate(const char* text);

PltHook& error_hook() {
  static PltHook& hook = *new PltHook("strdup", reinterpret_cast<void*>(duplicate), kTorchSharp);
  return hook;
}

char* duplicate(const char* text) {
  if (next_text != nullptr) return std::exchange(next_text, nullptr);
  return reinterpret_cast<char* (*)(const char*)>(error_hook().original())(text);
}

void* torchsharp() {
  static void* const library = dlopen(kTorchSharp, RTLD_LAZY | RTLD_NOLOAD);
  return library;
}

// --- Gradients ------------------------------------------------------------------------------------------------------
// Where TorchSharp puts the results of its next call on this thread: tensors' handles, for us to own.
thread_local std::vector<void*> results;

void** place_results(size_t count) {
  results.assign(count, nullptr);
  return results.data();
}

std::vector<void*> handles(const std::vector<Tensor>& tensors) {
  std::vector<void*> list;
  for (const Tensor& tensor : tensors) list.push_back(tensor.get());
  return list;
}

}  // namespace

bool redirect_random_numbers(void* generator) {
  PltHook& hook = generator_hook();
  const bool held = hook.hold();
  const uint64_t losses = hook.losses();
  const bool was_held = thread_generator == nullptr || losses == thread_losses;
  thread_generator = generator;
  thread_losses = losses;
  return held && was_held;
}

bool backward_accumulates() {
  // An empty list of the nodes to execute stands for all. Only its size is read, which does not depend on what a node's
  // entry holds.
  using Nodes = std::unordered_map<void*, void*>;
  static const auto nodes = reinterpret_cast<const Nodes* (*)()>(
      dlsym(RTLD_DEFAULT, "_ZN5torch8autograd32get_current_graph_task_exec_infoEv"));
  const Nodes* const wanted = nodes != nullptr ? nodes() : nullptr;
  return wanted == nullptr || wanted->empty();
}

bool leave_torchsharp_error(const std::string& text) {
  if (torchsharp() == nullptr || !error_hook().hold()) return false;
  // Opening a file without a name fails, and so leaves an error: with our text in place of its own.
  static const auto fail = reinterpret_cast<void* (*)(const char*)>(dlsym(torchsharp(), "THSTensor_load"));
  if (fail == nullptr) return false;
  next_text = strdup(text.c_str());
  if (next_text == nullptr) return false;
  fail("");
  if (next_text == nullptr) return true;
  // Not taken: it must not become the text of something else.
  std::free(std::exchange(next_text, nullptr));
  return false;
}

std::vector<Tensor> captured_gradients(const Tensor& output, const Tensor& cotangent,
                                       const std::vector<Tensor>& inputs) {
  using Gradients = void (*)(void** outputs, int64_t, void** inputs, int64_t, void** cotangents, int64_t,
                             bool retain_graph, bool create_graph, bool allow_unused, void** (*place)(size_t));
  static const auto gradients =
      reinterpret_cast<Gradients>(torchsharp() != nullptr ? dlsym(torchsharp(), "THSAutograd_grad") : nullptr);
  if (gradients == nullptr) throw Error("gradients need TorchSharp, whose native library is not loaded");
  void* of = output.get();
  void* from = cotangent.get();
  std::vector<void*> to = handles(inputs);
  try {
    gradients(&of, 1, to.data(), static_cast<int64_t>(to.size()), &from, 1, false, false, true, place_results);
  } catch (const std::exception& error) {
    const std::string text = error.what();
    throw Error(text.substr(0, text.find('\n')));  // what follows is LibTorch's stack
  }
  std::vector<Tensor> found;
  for (void* handle : std::exchange(results, {})) {
    found.push_back(handle != nullptr ? Tensor(static_cast<AtenTensorHandle>(handle)) : Tensor());
  }
  return found;
}

}  // namespace resnet_nodes
