// torch_ops.cpp: a training step of a stage as an operator of PyTorch, for benchmarks side by side in one process: one
// allocator then counts the memory of both. torch.ops.load_library loads it.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "resnet_nodes/error.h"
#include "resnet_nodes/stage.h"

namespace resnet_nodes {
namespace {

LayerSpec conv(int64_t in, int64_t out, int64_t kernel) {
  LayerSpec spec;
  spec.kind = LayerKind::conv2d;
  spec.in_features = in, spec.out_features = out;
  spec.kernel_height = spec.kernel_width = kernel;
  spec.padding_height = spec.padding_width = kernel / 2;
  spec.bias = false;
  return spec;
}

LayerSpec norm(int64_t channels) {
  LayerSpec spec;
  spec.kind = LayerKind::batch_norm2d;
  spec.in_features = channels;
  return spec;
}

LayerSpec relu() {
  LayerSpec spec;
  spec.kind = LayerKind::relu;
  return spec;
}

FunctionSpec function_of(const std::string& net, int64_t channels) {
  if (net == "tiny") {
    return {{conv(channels, channels, 3), norm(channels), relu(), conv(channels, channels, 3), norm(channels)}};
  }
  if (net == "bottleneck") {
    const int64_t narrow = channels / 4;
    return {{conv(channels, narrow, 1), norm(narrow), relu(), conv(narrow, narrow, 3), norm(narrow), relu(),
             conv(narrow, channels, 1), norm(channels)}};
  }
  throw Error("net is " + net + ", expected tiny or bottleneck");
}

ReconstructionKind kind_of(const std::string& method) {
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    if (plan.name == method) return plan.kind;
  }
  throw Error("method is " + method + ", expected the name of a reconstruction");
}

// Behind a method's name: as CUDA graphs.
constexpr std::string_view kGraphs = "+graphs";

// Stages are kept: what `adaptive` has learned is theirs, and what has been recorded. Never destroyed: graphs and
// memory are CUDA's, which is gone before this library's statics are.
Stage& stage_of(const std::string& net, int64_t channels, int64_t depth, const std::string& method) {
  using Stages = std::map<std::tuple<std::string, int64_t, int64_t, std::string>, std::unique_ptr<Stage>>;
  static std::mutex mutex;
  static Stages& stages = *new Stages;
  const std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<Stage>& stage = stages[{net, channels, depth, method}];
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
                  std::vector<Tensor> gradients, int64_t depth, std::string net, std::string method) {
  const Stage& stage = stage_of(net, x.size(1), depth, method);
  const std::vector<int32_t> training(static_cast<size_t>(stage.norm_count()), 1);
  const auto context = stage.forward(x, parameters, buffers, training);
  stage.backward(*context, grad, std::vector<int32_t>(parameters.size(), 1), gradients);
  return context->input_gradient();
}

}  // namespace
}  // namespace resnet_nodes

STABLE_TORCH_LIBRARY(resnet_nodes_bench, m) {
  m.def(
      "train_step(Tensor x, Tensor grad, Tensor[] parameters, Tensor[] buffers, Tensor[] gradients, int depth, str "
      "net, "
      "str method) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(resnet_nodes_bench, CompositeExplicitAutograd, m) {
  m.impl("train_step", TORCH_BOX(&resnet_nodes::train_step));
}
