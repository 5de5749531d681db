// stage.h: a residual stage, its forward pass, and its way back.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "resnet_nodes/callbacks.h"
#include "resnet_nodes/communicator.h"
#include "resnet_nodes/export.h"
#include "resnet_nodes/layers.h"
#include "resnet_nodes/options.h"

namespace resnet_nodes {

using torch::stable::Tensor;

/// Where the state came from at which a step's gradient was taken.
enum class StateSource {
  found,     ///< reconstructed from the one after it
  kept,      ///< stored by the forward pass
  replayed,  ///< computed again from a stored one before it
};

/// One step of the backward pass.
struct StepReport {
  /// Estimate of |x~ - x_n| / |x_n|, x~ being the state at which the gradient was taken: 0 where it was kept or
  /// replayed, -1 where the method does not measure it (inverse).
  double error = -1;
  int64_t evaluations = 0;  ///< of residual functions, those of a replay for it included
  StateSource source = StateSource::found;
};

/// What the backward pass found out about itself.
struct StageReport {
  std::vector<StepReport> steps;     ///< of step 0 ... N-1
  int64_t evaluations = 0;           ///< residual function evaluations of the backward pass, those with a tape included
  double reconstruction_error = -1;  ///< |x~_0 - x_0| / |x_0|; -1 where it was not asked for
  double forward_seconds = 0;        ///< wall time inside of Stage::forward; callbacks included
  double backward_seconds = 0;       ///< the same of Stage::backward
};

/// What a forward pass leaves for its backward pass. Used up by one backward pass.
class RESNET_NODES_API StageContext {
 public:
  struct Impl;
  explicit StageContext(std::unique_ptr<Impl> impl);
  ~StageContext();
  StageContext(const StageContext&) = delete;
  StageContext& operator=(const StageContext&) = delete;

  /// x_N, of the shape, dtype, device and layout of the stage's input: channels_last where that was, else row-major
  /// (docs/architecture.md); with callbacks in the layout that they give.
  Tensor output() const;
  /// Gradient of the stage's input, in the same layout; undefined where it was not wanted. Throws Error before the
  /// backward pass.
  Tensor input_gradient() const;
  /// Gradients of the parameters, in the order of the forward pass's list; undefined where none was asked for and where
  /// it was added to a given buffer.
  std::vector<Tensor> parameter_gradients() const;
  /// What the backward pass found out. Throws Error before it. Blocks until a GPU has finished the pass.
  StageReport report() const;
  /// Whether `report` would return without a wait. Throws Error before the backward pass.
  bool report_is_ready() const;
  /// Lets go of the gradients, for those who read the report later. Throws Error before the backward pass.
  void keep_report_alone();
  Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// What a training step through a stage takes, foreseen from shapes: what plans of memory are made of. Bytes are those
/// of the stage's own tensors; what belongs to the caller (x, parameters, their gradients) is not counted.
struct PassCost {
  std::vector<int64_t> output_sizes;
  int64_t kept_bytes = 0;      ///< what the forward pass leaves for the backward pass, its output included
  int64_t forward_bytes = 0;   ///< what the forward pass works with at most
  int64_t backward_bytes = 0;  ///< what the backward pass works with beyond the former, the output's gradient included
  double evaluations = 0;      ///< of residual functions in both passes; a product counts as two
  double backward_evaluations = 0;  ///< those among them that StageReport::evaluations counts
  double operations = 0;            ///< of one evaluation, on average: multiply-adds, and a few for each value
};

/// x_{n+1} = x_n + h f_n(x_n), n = 0 ... N-1: the residual recursion of the paper, or that of another solver. What it
/// computes never changes; what it remembers from pass to pass (workspaces, adaptive's choices, recorded graphs) only
/// makes it faster. Calls may come from any thread.
class RESNET_NODES_API Stage {
 public:
  /// `functions`: `depth` of them, or one that all steps share. Throws Error on a bad list or option.
  Stage(const std::vector<FunctionSpec>& functions, int64_t depth, const StageOptions& options);
  /// `depth` external functions, which each forward pass brings along.
  Stage(int64_t depth, const StageOptions& options);
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  int64_t depth() const;
  /// Length of the list of parameters that forward expects: every function's in turn. 0 with callbacks.
  int64_t parameter_count() const;
  int64_t buffer_count() const;
  /// Batch normalizations in the functions' lists, a shared function's once. 0 with callbacks.
  int64_t norm_count() const;
  /// How function n is evaluated on a state like x: "fused conv3x3-conv3x3, 16 channels, avx512", "fused
  /// linear-tanh-linear, 8 hidden, avx512", "operators, channels_last", "operators", "callbacks"; ", bfloat16" follows
  /// where they compute in that, ", cuda steps" where the steps around it are kernels on the GPU. RESNET_NODES_FUSED
  /// decides (runtime.h), then layers, dtype, device and shape.
  std::string function_path(int64_t function, const Tensor& x) const;

  /// What a training step takes with each of these options, at a state like x, whose values are not read. For adaptive
  /// by what this stage has learned: bytes are the most that a pass may hold, evaluations the fewest that it may need.
  /// Throws Error with external functions, of which only they know, and where x or the options do not fit.
  std::vector<PassCost> costs(const Tensor& x, const std::vector<StageOptions>& options) const;

  /// x_N alone; nothing is kept. x: [B, C, H, W] or [B, D]. `training`: one flag a batch normalization, in the order
  /// of the functions' lists. 1: the batch's statistics, and the running ones change; 0: the running ones.
  Tensor evaluate(const Tensor& x, const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers,
                  const std::vector<int32_t>& training) const;
  /// x_N and what backward needs: x_N itself and 2C numbers a batch normalization; x_0 and the states of steps that it
  /// could not find for adaptive, at most 7 in all; more for backprop and checkpoint.
  std::unique_ptr<StageContext> forward(const Tensor& x, const std::vector<Tensor>& parameters,
                                        const std::vector<Tensor>& buffers, const std::vector<int32_t>& training) const;
  // The same for a stage of external functions, which have to live until the pass's way back is over.
  Tensor evaluate(const Tensor& x, const CallbackTable& functions) const;
  std::unique_ptr<StageContext> forward(const Tensor& x, const CallbackTable& functions) const;
  /// dL/dx_N -> dL/dx_0 and dL/dparameters, summed where steps share a function; they are read from `context`.
  /// `wanted`: one flag a parameter (0: frozen, costs nothing). `accumulate_into`: empty, or one tensor a parameter to
  /// which its gradient is added instead of being returned; undefined entries are returned as usual.
  /// Throws Error that names the tensor where a parameter was changed in place since the forward pass, or x or x_N
  /// where the method reads them again; frozen batch normalizations use the running statistics of the forward pass.
  /// After such an error, as after any other about arguments, the context is as before.
  /// `input_wanted`: without it a function alone takes no gradient of its input, which may then be of any dtype.
  /// `listener`: who is told of gradients as they become final, or nobody; a recorded graph tells of all at its end.
  /// Throws Error where there is one for external functions, which keep their gradients themselves.
  void backward(StageContext& context, const Tensor& grad_output, const std::vector<int32_t>& wanted,
                const std::vector<Tensor>& accumulate_into, bool input_wanted = true,
                const GradientListener& listener = GradientListener()) const;

  /// Whether `synchronize` takes this stage: native layers without cuda_graphs.
  bool can_synchronize() const;
  /// From the next forward pass on, batch statistics are those of all ranks: K ranks with a part of a batch each, of
  /// any size, do what one process does with all of it. Outputs, input gradients and running statistics are those of
  /// the whole batch; gradients of parameters are this rank's share, whose sum over the ranks is the whole batch's.
  /// Null, or a communicator of one rank: the batch's own statistics again. A way back goes by what its forward pass
  /// went by. All ranks make the same passes in the same order, with the same modes and wanted gradients: one sum for
  /// each training normalization there, and one on the way back. Normalizations by running statistics need none. The
  /// communicator is not owned: passes after its end are refused. Throws Error with external functions and cuda_graphs;
  /// passes that need sums do so on a GPU, and where another one is under way on another thread.
  void synchronize(const Communicator* ranks) const;

  /// What adaptive has learned of the steps, as numbers: a stage of the same depth and options that gets them goes on
  /// as this one would, bit for bit. Empty for other methods. Blocks until a GPU has finished the last pass.
  std::vector<double> learned() const;
  /// Throws Error where they are not those of such a stage; it is left as it was.
  void restore_learned(const std::vector<double>& learned) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace resnet_nodes
