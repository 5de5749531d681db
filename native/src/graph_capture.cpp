#include "graph_capture.h"

#include <atomic>

#include "cuda_graph.h"
#include "operators.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

std::atomic<GraphMaker> on_cpu{nullptr};

}  // namespace

void check_graphs(const Tensor& x) {
  if (x.is_cuda()) {
    check_cuda_graphs();
  } else if (!x.is_cpu() || on_cpu == nullptr) {
    throw Error("cuda_graphs needs CUDA tensors, x is on " + device_text(x) + "; leave it off");
  }
}

GraphPool new_graph_pool(const Tensor& x) { return x.is_cuda() ? new_cuda_graph_pool() : GraphPool(); }

std::unique_ptr<GraphCapture> new_graph_capture(const Tensor& x, const GraphPool& pool) {
  return x.is_cuda() ? new_cuda_graph(x, pool) : on_cpu.load()();
}

void capture_on_cpu(GraphMaker make) { on_cpu = make; }

}  // namespace resnet_nodes
