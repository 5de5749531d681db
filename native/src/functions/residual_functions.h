// residual_functions.h: the one thing that solvers and reconstructions know of the functions f_0 ... f_{N-1}.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <memory>
#include <vector>

#include "resnet_nodes/callbacks.h"
#include "tensors/fused_steps.h"

namespace resnet_nodes {

using torch::stable::Tensor;

/// What one evaluation keeps for its vector-Jacobian product. Reusable: an evaluation writes it anew.
class Tape {
 public:
  virtual ~Tape() = default;
  /// Whether its product reads the memory of this result of the evaluation; external functions see to that themselves.
  virtual bool holds(const Tensor& /*result*/) const { return false; }
  bool kept = false;  ///< a product leaves it for another one
};

/// Which function is evaluated, and as which of the forward pass's evaluations: a function that two steps use (Heun's)
/// has statistics and random numbers of its own in each.
struct Use {
  int64_t function;  ///< n, from 0
  int64_t index;     ///< from 0, the same on the way back
};

/// Tells the listener of the gradients of `count` parameters. Throws CallbackError where it fails.
void tell(const GradientListener& listener, int64_t first, int64_t count);

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
  /// The gradient of x from that of f_n(x); the parameters' gradients are added up. Uses the tape up,
  /// unless it is to be kept.
  virtual Tensor vjp(Use use, Tape& tape, const Tensor& cotangent) = 0;

  // Of a function alone, which may change the shape of its input.
  /// The gradient of x, where it is wanted; the parameters' are added up. Uses the tape up.
  virtual Tensor gradient_alone(Use use, Tape& tape, const Tensor& cotangent) { return vjp(use, tape, cotangent); }
  /// The same from x itself.
  virtual Tensor gradient_alone(Use use, const Tensor& x, const Tensor& cotangent);

  // The same with what a step does to the result, in one pass where a function can.
  /// base + a f_n(x) in the forward pass.
  virtual Tensor forward_step(Use use, const Tensor& base, const Tensor& x, double a, Tape* tape);
  /// base + a f_n(x) on the way back.
  virtual Tensor replay_step(Use use, const Tensor& base, const Tensor& x, double a);
  /// y - a f_n(predicted) and how far that is from `predicted`, with f_n's tape for a product with `cotangent`.
  virtual Corrected correct_step(Use use, const Tensor& y, const Tensor& predicted, double a, bool keep_slope,
                                 const Tensor& cotangent, Tape& tape);
  /// cotangent + a (the gradient of x from a cotangent of f_n(x)).
  virtual Tensor vjp_step(Use use, Tape& tape, const Tensor& cotangent, double a);

  // What follows an evaluation that ended in f = f_n(x), which is written over where nobody else holds it.
  /// base + a f.
  Tensor moved(const Tensor& base, const Tensor& f, double a) const;
  /// y - a f and how far that is from `predicted`.
  Corrected corrected(const Tensor& y, const Tensor& f, const Tensor& predicted, double a, bool keep_slope) const;

  /// From here on, corrections leave their norms in `place` (fused_steps.h: correct_measured), and nothing waits for
  /// them; undefined: in what they return, as at first.
  void measure_into(const Tensor& place) { place_ = place; }

  // Where gradients of parameters go (Stage::backward). External functions keep their own: they take empty lists only.
  /// Throws Error where the lists do not fit the parameters.
  virtual void check_gradients(const std::vector<int32_t>& wanted, const std::vector<Tensor>& accumulate_into) const;
  /// Before the first product: which parameters want a gradient, and where it goes (undefined: a tensor of its own);
  /// and whether `gradient_alone` is to give that of x.
  virtual void want_gradients(const std::vector<int32_t>&, const std::vector<Tensor>&, bool /*input*/) {}
  /// Whom `end_products` tells; nobody at first.
  void tell(const GradientListener& listener) { listener_ = listener; }
  bool has_listener() const { return listener_.ready != nullptr; }
  /// No product with function n follows in this pass. Functions come to this once each, function 0 as the last.
  virtual void end_products(int64_t /*n*/) {}
  /// The gradients that have no given place; undefined elsewhere.
  virtual std::vector<Tensor> take_gradients() { return {}; }

  /// After the last evaluation of a forward pass: copies that served these go. Where the pass is a graph, parameters
  /// change before the way back.
  virtual void end_forward() {}

  /// Tells that nobody reads `state` any more. Where it is a result of the running pass, its memory may be used again;
  /// where it is anything else, nothing happens.
  virtual void recycle(const Tensor&) {}

  /// Memory for a state like `x` that the walk itself computes; undefined where functions keep none for it.
  virtual Tensor spare(const Tensor&) { return {}; }

  /// Whether results are new tensors that no tape holds, so that the walk may write over them.
  virtual bool results_are_fresh() const = 0;

 protected:
  const Tensor& norms_place() const { return place_; }
  const GradientListener& listener() const { return listener_; }

 private:
  Tensor place_;
  GradientListener listener_;
};

}  // namespace resnet_nodes
