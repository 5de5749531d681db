// torch_ops.cpp: a training step of a stage as an operator of PyTorch, for benchmarks side by side in one process: one
// allocator then counts the memory of both. torch.ops.load_library loads it.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "device/graph_capture.h"
#include "resnet_nodes/error.h"
#include "resnet_nodes/stage.h"

namespace resnet_nodes {
namespace {

LayerSpec conv(int64_t in, int64_t out, int64_t kernel, int64_t groups = 1, int64_t dilation = 1) {
  LayerSpec spec;
  spec.kind = LayerKind::conv2d;
  spec.in_features = in, spec.out_features = out;
  spec.kernel_height = spec.kernel_width = kernel;
  spec.padding_height = spec.padding_width = dilation * (kernel / 2);
  spec.dilation_height = spec.dilation_width = dilation;
  spec.groups = groups;
  spec.bias = false;
  return spec;
}

LayerSpec linear(int64_t width) {
  LayerSpec spec;
  spec.kind = LayerKind::linear;
  spec.in_features = spec.out_features = width;
  return spec;
}

LayerSpec norm(int64_t channels) {
  LayerSpec spec;
  spec.kind = LayerKind::batch_norm2d;
  spec.in_features = channels;
  return spec;
}

LayerSpec plain(LayerKind kind) {
  LayerSpec spec;
  spec.kind = kind;
  return spec;
}

// As gpu_stage.py has them.
FunctionSpec function_of(const std::string& net, int64_t channels) {
  const LayerSpec relu = plain(LayerKind::relu);
  const int64_t groups = net == "grouped" ? 3 : 1, dilation = net == "dilated" ? 2 : 1;
  if (net == "tiny" || groups > 1 || dilation > 1) {
    const LayerSpec same = conv(channels, channels, 3, groups, dilation);
    return {{same, norm(channels), relu, same, norm(channels)}};
  }
  if (net == "bottleneck") {
    const int64_t narrow = channels / 4;
    return {{conv(channels, narrow, 1), norm(narrow), relu, conv(narrow, narrow, 3), norm(narrow), relu,
             conv(narrow, channels, 1), norm(channels)}};
  }
  if (net == "linear") return {{linear(channels), plain(LayerKind::tanh), linear(channels)}};
  throw Error("net is " + net + ", expected tiny, grouped, dilated, bottleneck or linear");
}

ReconstructionKind kind_of(const std::string& method) {
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    if (plan.name == method) return plan.kind;
  }
  throw Error("method is " + method + ", expected the name of a reconstruction");
}

// Behind a method's name: as CUDA graphs.
constexpr std::string_view kGraphs = "+graphs";

// Stages are kept, by what they are of and a number: what `adaptive` has learned is theirs, and what has been recorded.
using Key = std::tuple<int64_t, std::string, int64_t, int64_t, std::string>;
using Stages = std::map<Key, std::unique_ptr<Stage>>;

// Never destroyed: graphs and memory are CUDA's, which is gone before this library's statics are.
Stages& stages() {
  static Stages& all = *new Stages;
  return all;
}

std::mutex& stages_mutex() {
  static std::mutex mutex;
  return mutex;
}

Stage& stage_of(const std::string& net, int64_t channels, int64_t depth, const std::string& method, int64_t number) {
  const std::lock_guard<std::mutex> lock(stages_mutex());
  std::unique_ptr<Stage>& stage = stages()[{number, net, channels, depth, method}];
  if (stage == nullptr) {
    StageOptions options;
    options.cuda_graphs = method.ends_with(kGraphs);
    options.reconstruction = kind_of(method.substr(0, method.find(kGraphs)));
    const std::vector<FunctionSpec> functions(static_cast<size_t>(depth), function_of(net, channels));
    stage = std::make_unique<Stage>(functions, depth, options);
  }
  return *stage;
}

// Adds the parameters' gradients to `gradients`; returns x's.
Tensor train_step(Tensor x, Tensor grad, std::vector<Tensor> parameters, std::vector<Tensor> buffers,
                  std::vector<Tensor> gradients, int64_t depth, std::string net, std::string method, bool training,
                  int64_t number) {
  const Stage& stage = stage_of(net, x.size(1), depth, method, number);
  const std::vector<int32_t> modes(static_cast<size_t>(stage.norm_count()), training ? 1 : 0);
  const auto context = stage.forward(x, parameters, buffers, modes);
  stage.backward(*context, grad, std::vector<int32_t>(parameters.size(), 1), gradients);
  return context->input_gradient();
}

// Destroys the stages of a number.
void forget(int64_t number) {
  const std::lock_guard<std::mutex> lock(stages_mutex());
  std::erase_if(stages(), [number](const auto& entry) { return std::get<0>(entry.first) == number; });
}

// What recording a pass that waits for the device ends with.
std::string fail_to_record(Tensor x) {
  try {
    new_graph_capture(x, new_graph_pool(x))->record([&x] {
      return std::vector<Tensor>{torch::stable::to(x, torch::stable::Device(torch::headeronly::DeviceType::CPU))};
    });
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace
}  // namespace resnet_nodes

STABLE_TORCH_LIBRARY(resnet_nodes_bench, m) {
  m.def(
      "train_step(Tensor x, Tensor grad, Tensor[] parameters, Tensor[] buffers, Tensor[] gradients, int depth, str "
      "net, str method, bool training, int number) -> Tensor");
  m.def("forget(int number) -> ()");
  m.def("fail_to_record(Tensor x) -> str");
}

STABLE_TORCH_LIBRARY_IMPL(resnet_nodes_bench, CompositeExplicitAutograd, m) {
  m.impl("train_step", TORCH_BOX(&resnet_nodes::train_step));
  m.impl("forget", TORCH_BOX(&resnet_nodes::forget));
  m.impl("fail_to_record", TORCH_BOX(&resnet_nodes::fail_to_record));
}
