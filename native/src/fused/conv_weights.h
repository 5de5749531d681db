// conv_weights.h: weights as the loops of convolutions take them, and their gradients from the loops' sums.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "fused/conv_plan.h"
#include "fused/memory.h"
#include "fused/states.h"

namespace resnet_nodes {

/// The packed weights of one function, for both directions.
class PackedWeights {
 public:
  void prepare(const ConvPlan& plan);
  /// Packs those of all units anew where the key has changed. `transposed`: those of the inputs' gradients.
  template <typename Number>
  void pack(const ConvPlan& plan, const ConvKernels<Number>& kernels, const PackedKey& key, bool transposed,
            const std::vector<Tensor>& weights);
  /// What `pack` has left for a unit.
  template <typename Number>
  const Number* of(const ConvPlan& plan, size_t unit, bool transposed) {
    return place(plan, unit, transposed).weights.template data<Number>();
  }

 private:
  struct Place {
    FloatBuffer weights;
    bool is_ready = false;
    bool is_transposed = false;
  };
  Place& place(const ConvPlan& plan, size_t unit, bool transposed);

  PackedKey key_;
  std::vector<Place> places_;
};

/// Some sums of a weight gradient: [tap][in / lanes][out][in % lanes], of input channels from `first` on.
struct TapSums {
  const float* taps = nullptr;
  int64_t first = 0;
  int64_t in = 0;
};

/// To a weight's gradient, or in its place. `parts`: further sums lie `next_part` numbers on, and all are added up.
void put_weight_gradient(const GradientTarget& to, const ConvPlan& plan, const ConvLayouts& layouts, size_t unit,
                         const TapSums& sums, int64_t parts, int64_t next_part, bool add);

}  // namespace resnet_nodes
