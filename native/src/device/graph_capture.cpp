#include "device/graph_capture.h"

#include <atomic>

#include "device/cuda_graph.h"

namespace resnet_nodes {
namespace {

std::atomic<GraphMaker> on_cpu{nullptr};

}  // namespace

bool can_record(const Tensor& x) {
  if (x.is_cuda()) check_cuda_graphs();
  return x.is_cuda() || (x.is_cpu() && on_cpu != nullptr);
}

GraphPool new_graph_pool(const Tensor& x) { return x.is_cuda() ? new_cuda_graph_pool(x) : GraphPool(); }

std::unique_ptr<GraphCapture> new_graph_capture(const Tensor& x, const GraphPool& pool) {
  return x.is_cuda() ? new_cuda_graph(x, pool) : on_cpu.load()();
}

void capture_on_cpu(GraphMaker make) { on_cpu = make; }

}  // namespace resnet_nodes
