// residual_functions.cpp: steps around functions that know nothing of them.
#include "functions/residual_functions.h"

#include <string>

#include "resnet_nodes/error.h"
#include "tensors/operators.h"

namespace resnet_nodes {

void tell(const GradientListener& listener, int64_t first, int64_t count) {
  using Ready = int32_t (*)(void*, int64_t, int64_t);
  if (reinterpret_cast<Ready>(listener.ready)(listener.user, first, count) == 0) return;
  throw CallbackError("the listener failed at the gradients of parameters " + std::to_string(first) + " to " +
                      std::to_string(first + count - 1));
}

Tensor ResidualFunctions::gradient_alone(Use use, const Tensor& x, const Tensor& cotangent) {
  const std::unique_ptr<Tape> tape = make_tape();
  replay(use, x, tape.get());
  return gradient_alone(use, *tape, cotangent);
}

Tensor ResidualFunctions::forward_step(Use use, const Tensor& base, const Tensor& x, double a, Tape* tape) {
  return moved(base, forward(use, x, tape), a);
}

Tensor ResidualFunctions::replay_step(Use use, const Tensor& base, const Tensor& x, double a) {
  return moved(base, replay(use, x, nullptr), a);
}

Corrected ResidualFunctions::correct_step(Use use, const Tensor& y, const Tensor& predicted, double a, bool keep_slope,
                                          const Tensor&, Tape& tape) {
  return corrected(y, replay(use, predicted, &tape), predicted, a, keep_slope);
}

Tensor ResidualFunctions::moved(const Tensor& base, const Tensor& f, double a) const {
  return add_scaled(base, f, a, results_are_fresh() ? f : Tensor());
}

Corrected ResidualFunctions::corrected(const Tensor& y, const Tensor& f, const Tensor& predicted, double a,
                                       bool keep_slope) const {
  Corrected result;
  const bool overwrite = results_are_fresh() && !keep_slope;
  const Tensor& out = overwrite ? f : Tensor();
  result.state = place_.defined() ? correct_measured(y, f, predicted, a, place_, out)
                                  : correct(y, f, predicted, a, result.norms, out);
  if (keep_slope) result.slope = f;
  return result;
}

Tensor ResidualFunctions::vjp_step(Use use, Tape& tape, const Tensor& cotangent, double a) {
  return add_scaled(cotangent, vjp(use, tape, scaled(cotangent, a)), 1.0);
}

void ResidualFunctions::check_gradients(const std::vector<int32_t>& wanted,
                                        const std::vector<Tensor>& accumulate_into) const {
  if (wanted.empty() && accumulate_into.empty()) return;
  throw Error("wanted and accumulate_into name parameters, but external functions keep the gradients of theirs");
}

}  // namespace resnet_nodes
