// layer_table.h: the layers of a stage's functions, checked: what does not change from step to step.
#pragma once

#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "fused/conv_plan.h"
#include "layers/layer.h"
#include "resnet_nodes/options.h"

namespace resnet_nodes {

/// What a function is fused as, on states that fit.
enum class Fusion { none, conv_block, mlp };

/// The layers of all functions; where each one's parameters and buffers stand in the stage's lists.
class LayerTable {
 public:
  /// `functions`: `depth` of them, or one that all share. `keep_shape`: whether outputs are to be like inputs.
  LayerTable(const std::vector<FunctionSpec>& functions, int64_t depth,
             ComputeType compute_type = ComputeType::same_as_state, bool keep_shape = true);

  struct Row {
    std::unique_ptr<Layer> layer;
    int64_t first_parameter = 0;
    int64_t first_buffer = 0;
    int64_t input = kFunctionInput;  ///< the row whose output it reads, or the function's input
    int64_t other = kFunctionInput;  ///< likewise, the second input's; the same as `input` where there is none
    int64_t last_reader = -1;        ///< of its output; the function's output: past the last row
    bool takes_two = false;          ///< reads `other` beside `input`
    bool feeds_next = false;         ///< the next row reads its output, and no other
    bool is_read_back = false;       ///< a product reads its output
    int64_t statistics = -1;         ///< index among the function's batch normalizations, -1 for other layers
    int64_t norm = -1;               ///< the same among those of all functions
  };
  struct Function {
    std::vector<Row> rows;
    int64_t statistics_count = 0;
    Fusion fusion = Fusion::none;
    ConvChain chain;  ///< Fusion::conv_block
    int64_t last_reader_of_input = -1;
    bool reads_input_back = false;  ///< a product reads the function's input

    int64_t first_parameter() const { return rows.front().first_parameter; }
    const LayerSpec& spec(size_t row) const { return rows[row].layer->spec(); }
    int64_t channels() const { return spec(0).in_features; }
  };

  const Function& function(int64_t n) const { return functions_[static_cast<size_t>(row_of(n))]; }
  /// Which of the table's functions stands for function n of the stage: the one that all share, or the n-th.
  int64_t row_of(int64_t n) const { return functions_.size() == 1 ? 0 : n; }
  int64_t parameter_count() const { return parameter_count_; }
  int64_t buffer_count() const { return buffer_count_; }
  int64_t norm_count() const { return static_cast<int64_t>(norm_buffers_.size()); }
  /// The first buffer of each batch normalization; -1 where it has no running statistics.
  const std::vector<int64_t>& norm_buffers() const { return norm_buffers_; }
  /// Whether any normalization takes the batch's statistics with these flags, one a normalization.
  bool uses_batch(const std::vector<int32_t>& training) const;
  /// Whoever reads a batch normalization's running statistics shares it; whoever changes them holds it alone.
  std::shared_mutex& norm_lock(int64_t norm) const { return norm_locks_[static_cast<size_t>(norm)]; }
  /// "function 3, layer 1, weight".
  std::string parameter_place(int64_t index) const;
  /// Casts make new tensors of what layers pass through.
  bool results_are_fresh() const { return fresh_ || is_mixed(); }
  /// Whether outputs are to be like inputs.
  bool keeps_shape() const { return keep_shape_; }
  /// Whether functions compute in a narrower type than that of the state.
  bool is_mixed() const { return compute_type_ != ComputeType::same_as_state; }
  /// What function n is evaluated as on states like x, some images or rows at a time; none: layer by layer.
  Fusion fusion(int64_t n, const Tensor& x) const;
  /// How function n is evaluated on states like x, as users read it.
  std::string path(int64_t n, const Tensor& x) const;
  /// Throws Error where number, shape, dtype or device does not fit the layers and x.
  void check(const Tensor& x, const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers,
             const std::vector<int32_t>& training) const;

 private:
  static void join(Function& function, int64_t number);

  std::vector<Function> functions_;
  int64_t parameter_count_ = 0;
  int64_t buffer_count_ = 0;
  std::vector<int64_t> norm_buffers_;
  std::unique_ptr<std::shared_mutex[]> norm_locks_;
  bool fresh_ = true;
  bool fusing_ = true;
  ComputeType compute_type_;
  bool keep_shape_;
};

/// "function 3, layer 1".
std::string layer_place(int64_t function, size_t layer);
/// Throws Error where a list of tensors has not the expected length.
void check_length(const std::vector<Tensor>& list, int64_t expected, const char* name);

}  // namespace resnet_nodes
