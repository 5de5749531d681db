// layer_product.h: the vector-Jacobian product of a function by its layers, on all images at once or on some after the
// other (parts.h).
#pragma once

#include <functional>
#include <vector>

#include "functions/parts.h"
#include "functions/row_outputs.h"

namespace resnet_nodes {

/// Where a product finds what belongs to its pass, and leaves the gradients of parameters.
struct ProductHost {
  CallOf call_of;
  std::function<bool(int64_t parameter)> wants;
  std::function<void(int64_t parameter, const Tensor& gradient)> add;
  /// What a gradient in the outputs' type may be added to directly; undefined where there is nothing yet.
  std::function<Tensor(int64_t parameter)> sum_of;
  bool wants_input = true;
  bool keeps_outputs = false;  ///< another product follows
};

/// base + the gradient of the input from `scale` times a cotangent of the output.
struct ProductOperands {
  const Tensor& cotangent;
  double scale = 1;
  Tensor base;  ///< may be undefined
};

class LayerProduct {
 public:
  /// `outputs`: what the evaluation has kept by `parts`; let go of on the way. `type`: that of the outputs.
  LayerProduct(const LayerTable::Function& function, const ProductHost& host, const Parts& parts, KeptOutputs& outputs,
               torch::headeronly::ScalarType type);

  /// In the type of the outputs, or of `base` where there is one; undefined where the input wants none.
  Tensor of(const ProductOperands& operands);

 private:
  // The cotangent of a row's output, of all images, between two levels. One that is given, or another row's too, is not
  // written to.
  struct Pending {
    Tensor all;
    int64_t since = -1;  ///< the level that left it
    bool is_own = false;
  };

  void run_part(int64_t level, int64_t first, int64_t count, const ProductOperands& operands);
  Tensor cotangent_of(size_t place, int64_t first, int64_t count, const ProductOperands& operands);
  Tensor input_gradient(size_t r, const Tensor& cotangent, RowOutputs& outputs);
  void hand(int64_t to, const Tensor& gradient);
  void leave(int64_t level, int64_t first, int64_t count);
  void add_sums(int64_t level, int64_t first, int64_t count, const ProductOperands& operands, RowOutputs& outputs);
  void write_input(int64_t first, int64_t count, const ProductOperands& operands);
  void finish_norms(int64_t level);
  bool is_live(int64_t row) const { return live_[static_cast<size_t>(row + 1)]; }
  bool has_live_input(const LayerTable::Row& row) const { return is_live(row.input) || is_live(row.other); }
  int64_t level_of(size_t place) const { return place == 0 ? parts_.level_count - 1 : parts_.levels[place - 1]; }

  const LayerTable::Function& function_;
  const ProductHost& host_;
  const Parts& parts_;
  KeptOutputs& outputs_;
  torch::headeronly::ScalarType type_;
  std::vector<bool> live_;        // of the input (0) and of row r (r + 1): whether its gradient is of use
  std::vector<Pending> pending_;  // likewise
  std::vector<Tensor> local_;     // likewise, of the part that is under way
  std::vector<Tensor> sums_;      // of each row that is a barrier
  Tensor result_;
};

}  // namespace resnet_nodes
