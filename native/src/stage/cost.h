// cost.h: what a training step takes, foreseen from shapes and from what adaptive has learned.
#pragma once

#include "functions/footprint.h"
#include "stage/pass.h"

namespace resnet_nodes {

/// Of all functions of a stage at a state like x: the largest bytes, operations on average.
Footprint largest_footprint(const LayerTable& table, int64_t depth, const Tensor& x, int64_t tape_bytes);

/// Of passes by this plan, whose next one makes these choices.
PassCost cost_of(const PassPlan& plan, const Choices& choices, const Footprint& function);

}  // namespace resnet_nodes
