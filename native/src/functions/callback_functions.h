// callback_functions.h: residual functions that live outside the library.
#pragma once

#include <memory>

#include "functions/residual_functions.h"
#include "resnet_nodes/callbacks.h"

namespace resnet_nodes {

class CallbackFunctions final : public ResidualFunctions {
 public:
  /// `keep_shape`: whether results are to be like the state; otherwise gradients are, where there are some.
  CallbackFunctions(const CallbackTable& callbacks, bool keep_shape);

  std::unique_ptr<Tape> make_tape() override;
  Tensor forward(Use use, const Tensor& x, Tape* tape) override;
  Tensor replay(Use use, const Tensor& x, Tape* tape) override;
  Tensor vjp(Use use, Tape& tape, const Tensor& cotangent) override;
  // External code may return anything: its own input, or a tensor that it keeps using.
  bool results_are_fresh() const override { return false; }

  /// Throws Error where an address is missing.
  static void check(const CallbackTable& callbacks);

 private:
  Tensor evaluate(Use use, const Tensor& x, Evaluation evaluation, Tape* tape);

  CallbackTable callbacks_;
  bool keep_shape_;
};

}  // namespace resnet_nodes
