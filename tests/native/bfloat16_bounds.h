// bfloat16_bounds.h: how far functions in bfloat16 may be from the exact ones.
#pragma once

#include <algorithm>
#include <cmath>

#include "resnet_nodes/layers.h"

namespace resnet_nodes::truth {

/// Where a function's output and gradients in bfloat16 may lie from the exact ones. Each of its L layers rounds its
/// input and its weights or output: sqrt(2 L) u of f_n, sqrt(4 L) u of a product that goes through all layers twice.
/// The input of a ReLU behind l layers is off by d = sqrt(2 l) u: its mask flips for a share of 0.8 d, whose entries
/// are off by all of themselves.
struct BFloat16Bounds {
  static constexpr double kUnit = 4e-3;  // rounding
  double output = 0;
  double gradient = 0;

  explicit BFloat16Bounds(const FunctionSpec& function) {
    // Normalizations amplify what short functions round.
    const auto layers = static_cast<double>(std::max<size_t>(function.layers.size(), 5));
    double flipped = 0;
    for (size_t l = 0; l < function.layers.size(); ++l) {
      if (function.layers[l].kind == LayerKind::relu) flipped += 0.8 * std::sqrt(2.0 * static_cast<double>(l)) * kUnit;
    }
    output = std::sqrt(2 * layers) * kUnit;
    gradient = std::sqrt(flipped) + std::sqrt(4 * layers) * kUnit;
  }
};

}  // namespace resnet_nodes::truth
