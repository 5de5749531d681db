// cuda_graph.h: captures by LibTorch's own CUDAGraph, the only one that gives a graph memory of its own.
#pragma once

#include <memory>

#include "device/graph.h"

namespace resnet_nodes {

/// Throws Error where the loaded LibTorch has no CUDAGraph that fits.
void check_cuda_graphs();
/// On x's device, with a stream of LibTorch's pool.
GraphPool new_cuda_graph_pool(const Tensor& x);
std::unique_ptr<GraphCapture> new_cuda_graph(const Tensor& x, const GraphPool& pool);

}  // namespace resnet_nodes
