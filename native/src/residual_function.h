// residual_function.h: the one thing that solvers and reconstructions know of the functions f_0 ... f_{N-1}.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <memory>

namespace resnet_nodes {

using torch::stable::Tensor;

/// What one evaluation keeps for its vector-Jacobian product. Reusable: an evaluation writes it anew.
class Tape {
 public:
  virtual ~Tape() = default;
};

/// Which function is evaluated, and as which of the forward pass's evaluations: a function that two steps use (Heun's)
/// has statistics and random numbers of its own in each.
struct Use {
  int64_t function;  ///< n, from 0
  int64_t index;     ///< from 0, the same on the way back
};

/// The residual functions of a stage in one training step, with parameters bound and gradients adding up inside.
/// Results have x's shape.
class ResidualFunctions {
 public:
  virtual ~ResidualFunctions() = default;
  virtual std::unique_ptr<Tape> make_tape() = 0;
  /// f_n(x) in the forward pass: batch statistics are taken, running statistics change. `tape` may be null.
  virtual Tensor forward(Use use, const Tensor& x, Tape* tape) = 0;
  /// The same f_n at x again; changes nothing outside. `tape` may be null.
  virtual Tensor replay(Use use, const Tensor& x, Tape* tape) = 0;
  /// The gradient of x from that of f_n(x); the parameters' gradients are added up. Uses the tape up.
  virtual Tensor vjp(Use use, Tape& tape, const Tensor& cotangent) = 0;
  /// Whether results are new tensors that no tape holds, so that the walk may write over them.
  virtual bool results_are_fresh() const = 0;
};

}  // namespace resnet_nodes
