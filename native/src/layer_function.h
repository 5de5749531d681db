// layer_function.h: residual functions that are lists of native layers.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "fused_function.h"
#include "fused_linear.h"
#include "layer.h"
#include "residual_function.h"
#include "resnet_nodes/stage.h"

namespace resnet_nodes {

/// What a function is fused as, on states that fit.
enum class Fusion { none, convolutions, linear };

/// The layers of all functions, checked; where each one's parameters and buffers stand in the stage's lists.
class LayerTable {
 public:
  /// `functions`: `depth` of them, or one that all share.
  LayerTable(const std::vector<FunctionSpec>& functions, int64_t depth,
             ComputeType compute_type = ComputeType::same_as_state);

  struct Row {
    std::unique_ptr<Layer> layer;
    int64_t first_parameter = 0;
    int64_t first_buffer = 0;
    int64_t statistics = -1;  ///< index among the function's batch normalizations, -1 for other layers
  };
  struct Function {
    std::vector<Row> rows;
    int64_t statistics_count = 0;
    Fusion fusion = Fusion::none;

    int64_t first_parameter() const { return rows.front().first_parameter; }
    const LayerSpec& spec(size_t row) const { return rows[row].layer->spec(); }
    int64_t channels() const { return spec(0).in_features; }
  };

  const Function& function(int64_t n) const { return functions_[shared() ? 0 : static_cast<size_t>(n)]; }
  bool shared() const { return functions_.size() == 1; }
  int64_t parameter_count() const { return parameter_count_; }
  int64_t buffer_count() const { return buffer_count_; }
  /// Casts make new tensors of what layers pass through.
  bool results_are_fresh() const { return fresh_ || is_mixed(); }
  /// Whether functions compute in a narrower type than that of the state.
  bool is_mixed() const { return compute_type_ != ComputeType::same_as_state; }
  /// Whether function n is evaluated some images or rows at a time on states like x.
  bool fuses(int64_t n, const Tensor& x) const;
  /// How function n is evaluated on states like x, as users read it.
  std::string path(int64_t n, const Tensor& x) const;
  FusedPool<FusedWorkspace>& image_pool() const { return image_pool_; }
  FusedPool<LinearWorkspace>& linear_pool() const { return linear_pool_; }
  /// Throws Error where number, shape, dtype or device does not fit the layers and x.
  void check(const Tensor& x, const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers) const;

 private:
  std::vector<Function> functions_;
  int64_t parameter_count_ = 0;
  int64_t buffer_count_ = 0;
  bool fresh_ = true;
  bool fusing_ = true;
  ComputeType compute_type_;
  mutable FusedPool<FusedWorkspace> image_pool_;
  mutable FusedPool<LinearWorkspace> linear_pool_;
};

class LayerTape final : public Tape {
 public:
  std::vector<Tensor> saved;  ///< one entry a layer
  FusedTape fused;            ///< in their place where the function is fused
};

/// One training step's functions: table, parameters, saved statistics, and the gradients that vjp adds up.
class LayerFunctions final : public ResidualFunctions {
 public:
  /// `uses`: evaluations of the forward pass whose statistics are kept; 0 where no backward pass follows.
  LayerFunctions(std::shared_ptr<const LayerTable> table, std::vector<Tensor> parameters, std::vector<Tensor> buffers,
                 bool training, int64_t uses);

  std::unique_ptr<Tape> make_tape() override;
  Tensor forward(Use use, const Tensor& x, Tape* tape) override;
  Tensor replay(Use use, const Tensor& x, Tape* tape) override;
  Tensor vjp(Use use, Tape& tape, const Tensor& cotangent) override;
  Tensor forward_step(Use use, const Tensor& base, const Tensor& x, double a, Tape* tape) override;
  Tensor replay_step(Use use, const Tensor& base, const Tensor& x, double a) override;
  Corrected correct_step(Use use, const Tensor& y, const Tensor& predicted, double a, bool keep_slope,
                         const Tensor& cotangent, Tape& tape) override;
  Tensor vjp_step(Use use, Tape& tape, const Tensor& cotangent, double a) override;
  void recycle(const Tensor& state) override { states_.recycle(state); }
  Tensor spare(const Tensor& x) override { return table_->fuses(0, x) ? states_.like(x) : Tensor(); }
  bool results_are_fresh() const override { return table_->results_are_fresh(); }

  /// Throws Error where `wanted` and `accumulate_into` (Stage::backward) do not fit the parameters.
  void check_gradients(const std::vector<int32_t>& wanted, const std::vector<Tensor>& accumulate_into) const;
  /// Before the first vjp: which parameters want a gradient, and where it goes (undefined: a tensor of its own).
  void want_gradients(const std::vector<int32_t>& wanted, const std::vector<Tensor>& accumulate_into);
  /// The gradients that have no given place; undefined elsewhere.
  std::vector<Tensor> take_gradients();

 private:
  /// Parameters of one function, those that follow their input in the type that functions compute in.
  struct NarrowParameters {
    int64_t function = -1;
    std::vector<Tensor> tensors;
  };

  LayerCall call_for(Use use, const LayerTable::Row& row);
  const std::vector<Tensor>& narrow_parameters(int64_t function);
  Tensor narrowed(const Tensor& tensor) const;
  Tensor apply(Use use, const Tensor& x, Tape* tape, bool replay);
  Tensor vjp_by_layers(Use use, Tape& tape, const Tensor& cotangent);
  size_t apply_joined(Use use, size_t row, Tensor& state, std::vector<Tensor>* saved);
  // layer_fused.cpp
  FusedCall image_call(Use use, bool gradients);
  FusedLinearCall linear_call(Use use, bool gradients);
  template <typename Evaluate>
  auto fused(Use use, const Tensor& x, const Evaluate& evaluate, bool gradients = false);

  GradientTarget gradient_target(int64_t index);
  void add_gradient(int64_t index, const Tensor& computed);
  bool wants(int64_t index) const { return wanted_.empty() || wanted_[static_cast<size_t>(index)] != 0; }

  std::shared_ptr<const LayerTable> table_;
  std::vector<Tensor> parameters_;
  std::vector<Tensor> buffers_;
  bool training_;
  std::vector<std::vector<Statistics>> statistics_;  // [use][batch normalization]; empty where nothing is kept
  uint64_t pass_;
  FusedStates states_;
  std::array<NarrowParameters, 2> narrow_;  // the latest first; Heun's step goes back and forth between two
  std::vector<int32_t> wanted_;
  std::vector<Tensor> given_;
  std::vector<Tensor> gradients_;
};

}  // namespace resnet_nodes
