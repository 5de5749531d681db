// euler.cpp: x_{n+1} = x_n + h f_n(x_n), order 1: a ResNet (arXiv 2205.14612, equation 1).
#include "solver.h"

namespace resnet_nodes {
namespace {

class Euler final : public SolverMethod {
 public:
  int64_t steps(int64_t depth) const override { return depth; }
  int64_t evaluations_per_step() const override { return 1; }

  StepTape make_tape(ResidualFunctions& functions) const override { return {functions.make_tape(), nullptr}; }

  Tensor step(ResidualFunctions& functions, int64_t n, const Tensor& x, double h, StepTape* tape) const override {
    return functions.forward_step({n, n}, x, x, h, tape != nullptr ? (*tape)[0].get() : nullptr);
  }

  Tensor slope(ResidualFunctions& functions, int64_t n, const Tensor& x, double, StepTape* tape) const override {
    return functions.replay({n, n}, x, tape != nullptr ? (*tape)[0].get() : nullptr);
  }

  Tensor refine(ResidualFunctions& functions, int64_t n, const Tensor& y, const Tensor& x, double h) const override {
    return functions.replay_step({n, n}, y, x, -h);
  }

  Corrected correct(ResidualFunctions& functions, int64_t n, const Tensor& y, const Tensor& predicted, double h,
                    bool keep_slope, const Tensor& cotangent, StepTape& tape) const override {
    return functions.correct_step({n, n}, y, predicted, h, keep_slope, cotangent, *tape[0]);
  }

  Tensor undo(ResidualFunctions& functions, int64_t n, const Tensor& y, double h) const override {
    return refine(functions, n, y, y, h);
  }

  Tensor vjp(ResidualFunctions& functions, int64_t n, StepTape& tape, const Tensor& grad, double h) const override {
    return functions.vjp_step({n, n}, *tape[0], grad, h);
  }
};

}  // namespace

const SolverMethod& euler() {
  static const Euler method;
  return method;
}

}  // namespace resnet_nodes
