// row_outputs.h: the outputs of a function's layers in one evaluation on the way back, on some images of the batch.
#pragma once

#include <functional>
#include <vector>

#include "functions/layer_table.h"

namespace resnet_nodes {

/// What a layer of a function is called with in one evaluation, `other` apart.
using CallOf = std::function<LayerCall(const LayerTable::Row& row)>;

/// Outputs that an evaluation keeps of the whole batch: of the input (0), and of row r (r + 1). Undefined where none
/// is.
using KeptOutputs = std::vector<Tensor>;

/// Finds outputs when they are asked for: among those that are kept, else from the inputs of the layer.
class RowOutputs {
 public:
  /// Of images first ... first + count - 1.
  RowOutputs(const LayerTable::Function& function, const CallOf& call_of, const KeptOutputs& kept, int64_t first,
             int64_t count)
      : function_(function), call_of_(call_of), kept_(kept), first_(first), count_(count), found_(kept.size()) {}

  /// Of row r; kFunctionInput: the function's input.
  const Tensor& of(int64_t row);
  /// Nobody asks for it again.
  void drop(int64_t row) { found_[static_cast<size_t>(row + 1)] = Tensor(); }
  /// What a row's product reads.
  Tensor read_by(const LayerTable::Row& row, int64_t number);

 private:
  const LayerTable::Function& function_;
  const CallOf& call_of_;
  const KeptOutputs& kept_;
  int64_t first_;
  int64_t count_;
  std::vector<Tensor> found_;
};

}  // namespace resnet_nodes
