// layer_functions.h: residual functions that are lists of native layers, in one training step.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "functions/layer_product.h"
#include "functions/layer_table.h"
#include "functions/residual_functions.h"
#include "fused/conv_block.h"
#include "fused/mlp.h"
#include "fused/workspaces.h"

namespace resnet_nodes {

class LayerTape final : public Tape {
 public:
  bool holds(const Tensor& result) const override;

  Parts parts;
  KeptOutputs outputs;
  torch::headeronly::ScalarType type{};  ///< of the outputs
  FusedTape fused;                       ///< in their place where the function is fused
};

/// One training step's functions: parameters, saved statistics, and the gradients that vjp adds up.
class LayerFunctions final : public ResidualFunctions {
 public:
  /// `training`: one flag a batch normalization. `uses`: evaluations of the forward pass whose statistics are kept; 0
  /// where no backward pass follows. `tape_bytes`: as StageOptions has it. `ranks`: those that batch statistics are
  /// taken over, for a pass that they have begun; null: this process's alone.
  LayerFunctions(std::shared_ptr<const LayerTable> table, std::shared_ptr<Workspaces> workspaces,
                 std::vector<Tensor> parameters, std::vector<Tensor> buffers, std::vector<int32_t> training,
                 int64_t uses, int64_t tape_bytes, std::shared_ptr<NormSums> ranks = nullptr);

  std::unique_ptr<Tape> make_tape() override;
  Tensor forward(Use use, const Tensor& x, Tape* tape) override;
  Tensor replay(Use use, const Tensor& x, Tape* tape) override;
  Tensor vjp(Use use, Tape& tape, const Tensor& cotangent) override;
  using ResidualFunctions::gradient_alone;
  Tensor gradient_alone(Use use, Tape& tape, const Tensor& cotangent) override;
  Tensor forward_step(Use use, const Tensor& base, const Tensor& x, double a, Tape* tape) override;
  Tensor replay_step(Use use, const Tensor& base, const Tensor& x, double a) override;
  Corrected correct_step(Use use, const Tensor& y, const Tensor& predicted, double a, bool keep_slope,
                         const Tensor& cotangent, Tape& tape) override;
  Tensor vjp_step(Use use, Tape& tape, const Tensor& cotangent, double a) override;
  void recycle(const Tensor& state) override { states_.recycle(state); }
  Tensor spare(const Tensor& x) override { return table_->fusion(0, x) != Fusion::none ? states_.like(x) : Tensor(); }
  bool results_are_fresh() const override { return table_->results_are_fresh(); }

  void check_gradients(const std::vector<int32_t>& wanted, const std::vector<Tensor>& accumulate_into) const override;
  void want_gradients(const std::vector<int32_t>& wanted, const std::vector<Tensor>& accumulate_into,
                      bool input) override;
  void end_products(int64_t n) override;
  std::vector<Tensor> take_gradients() override;
  void end_forward() override { narrow_ = {}; }

 private:
  /// Parameters of one function, those that follow their input in the type that functions compute in.
  struct NarrowParameters {
    int64_t function = -1;
    std::vector<Tensor> tensors;
  };

  void keep_frozen_statistics();
  LayerCall call_for(Use use, const LayerTable::Row& row);
  /// With parameters as they were given, whatever functions compute in.
  LayerCall wide_call(Use use, const LayerTable::Row& row);
  const std::vector<Tensor>& narrow_parameters(int64_t function);
  Tensor narrowed(const Tensor& tensor) const;
  /// Back in the state's type.
  Tensor widened(const Tensor& tensor, const Tensor& state) const;
  // by_layers.cpp
  Tensor apply(Use use, const Tensor& x, Tape* tape, bool replay);
  Parts parts_for(Use use, const Tensor& x, bool replay);
  Tensor replay_in_parts(Use use, LayerTape& tape);
  Tensor product(Use use, Tape& tape, const ProductOperands& operands, bool wants_input = true);
  size_t apply_folded(Use use, size_t row, const Tensor& input, bool has_tape, KeptOutputs& outputs);
  // fused_layers.cpp
  ConvBlockCall conv_block_call(Use use, bool gradients);
  MlpCall mlp_call(Use use, bool gradients);
  template <typename Fused, typename Unfused>
  auto by_path(Use use, const Tensor& x, bool gradients, const Fused& fused, const Unfused& unfused);

  GradientTarget gradient_target(int64_t index);
  /// What a gradient in the parameter's own type is to be added to; undefined where it is the first.
  Tensor gradient_so_far(int64_t index) const;
  void add_gradient(int64_t index, const Tensor& computed);
  bool wants(int64_t index) const { return wanted_.empty() || wanted_[static_cast<size_t>(index)] != 0; }

  std::shared_ptr<const LayerTable> table_;
  std::shared_ptr<Workspaces> workspaces_;
  std::vector<Tensor> parameters_;
  std::vector<Tensor> buffers_;
  std::vector<int32_t> training_;
  std::vector<std::vector<Statistics>> statistics_;  // [use][batch normalization]; empty where nothing is kept
  int64_t tape_bytes_;
  std::shared_ptr<NormSums> ranks_;
  uint64_t pass_;
  FusedStates states_;
  std::array<NarrowParameters, 2> narrow_;  // the latest first; Heun's step goes back and forth between two
  bool wants_input_ = true;
  std::vector<int32_t> wanted_;
  std::vector<Tensor> given_;
  std::vector<Tensor> gradients_;
};

}  // namespace resnet_nodes
