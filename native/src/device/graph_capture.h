// graph_capture.h: the graphs that a device has.
#pragma once

#include <memory>

#include "device/graph.h"

namespace resnet_nodes {

/// Whether passes on x's device can be recorded. Throws Error where they could, with another LibTorch.
bool can_record(const Tensor& x);
/// A pool on x's device, for as long as one of its captures lives.
GraphPool new_graph_pool(const Tensor& x);
std::unique_ptr<GraphCapture> new_graph_capture(const Tensor& x, const GraphPool& pool);

using GraphMaker = std::unique_ptr<GraphCapture> (*)();
/// For tests: takes CPU tensors too, with captures that `make` makes; null: no more.
void capture_on_cpu(GraphMaker make);

}  // namespace resnet_nodes
