// euler.cpp: x_{n+1} = x_n + h f_n(x_n), order 1: a ResNet (arXiv 2205.14612, equation 1).
#include "operators.h"
#include "solver.h"
#include "steps.h"

namespace resnet_nodes {
namespace {

class Euler final : public SolverMethod {
 public:
  int64_t steps(int64_t depth) const override { return depth; }
  int64_t evaluations_per_step() const override { return 1; }

  StepTape make_tape(ResidualFunctions& functions) const override { return {functions.make_tape(), nullptr}; }

  Tensor step(ResidualFunctions& functions, int64_t n, const Tensor& x, double h, StepTape* tape) const override {
    const Tensor f = functions.forward({n, n}, x, tape != nullptr ? (*tape)[0].get() : nullptr);
    return add_scaled(x, f, h, functions.results_are_fresh() ? f : Tensor());
  }

  Tensor slope(ResidualFunctions& functions, int64_t n, const Tensor& x, double, StepTape* tape) const override {
    return functions.replay({n, n}, x, tape != nullptr ? (*tape)[0].get() : nullptr);
  }

  Tensor undo(ResidualFunctions& functions, int64_t n, const Tensor& y, double h) const override {
    const Tensor f = functions.replay({n, n}, y, nullptr);
    return add_scaled(y, f, -h, functions.results_are_fresh() ? f : Tensor());
  }

  Tensor vjp(ResidualFunctions& functions, int64_t n, StepTape& tape, const Tensor& grad, double h) const override {
    return add_scaled(grad, functions.vjp({n, n}, *tape[0], scaled(grad, h)), 1.0);
  }
};

}  // namespace

const SolverMethod& euler() {
  static const Euler method;
  return method;
}

}  // namespace resnet_nodes
