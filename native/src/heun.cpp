// heun.cpp: k1 = f_n(x), k2 = f_{n+1}(x + h k1), x_{n+1} = x + h/2 (k1 + k2), order 2 (arXiv 2205.14612, section 4).
#include "operators.h"
#include "resnet_nodes/error.h"
#include "solver.h"
#include "steps.h"

namespace resnet_nodes {
namespace {

// A function that two steps share is evaluated twice, each time with statistics of its own.
Use first_use(int64_t n) { return {n, 2 * n}; }
Use second_use(int64_t n) { return {n + 1, 2 * n + 1}; }

Tape* first(StepTape* tape) { return tape != nullptr ? (*tape)[0].get() : nullptr; }
Tape* second(StepTape* tape) { return tape != nullptr ? (*tape)[1].get() : nullptr; }

class Heun final : public SolverMethod {
 public:
  int64_t steps(int64_t depth) const override {
    if (depth < 2) throw Error("depth is " + std::to_string(depth) + ", expected at least 2 with Heun's solver");
    return depth - 1;
  }
  int64_t evaluations_per_step() const override { return 2; }

  StepTape make_tape(ResidualFunctions& functions) const override {
    return {functions.make_tape(), functions.make_tape()};
  }

  Tensor step(ResidualFunctions& functions, int64_t n, const Tensor& x, double h, StepTape* tape) const override {
    const Tensor k1 = functions.forward(first_use(n), x, first(tape));
    const Tensor k2 = functions.forward(second_use(n), add_scaled(x, k1, h), second(tape));
    return add_scaled_sum(x, k1, k2, h / 2, functions.results_are_fresh() ? k2 : Tensor());
  }

  Tensor slope(ResidualFunctions& functions, int64_t n, const Tensor& x, double h, StepTape* tape) const override {
    const Tensor k1 = functions.replay(first_use(n), x, first(tape));
    const Tensor k2 = functions.replay(second_use(n), add_scaled(x, k1, h), second(tape));
    return scaled(add_scaled(k1, k2, 1.0), 0.5);
  }

  Tensor undo(ResidualFunctions& functions, int64_t n, const Tensor& y, double h) const override {
    const Tensor k1 = functions.replay(second_use(n), y, nullptr);
    const Tensor k2 = functions.replay(first_use(n), add_scaled(y, k1, -h), nullptr);
    return add_scaled_sum(y, k1, k2, -h / 2, functions.results_are_fresh() ? k2 : Tensor());
  }

  Tensor vjp(ResidualFunctions& functions, int64_t n, StepTape& tape, const Tensor& grad, double h) const override {
    const Tensor half = scaled(grad, h / 2);
    const Tensor through_k2 = functions.vjp(second_use(n), *tape[1], half);
    const Tensor through_k1 = functions.vjp(first_use(n), *tape[0], add_scaled(half, through_k2, h));
    return add_scaled_sum(grad, through_k2, through_k1, 1.0);
  }
};

}  // namespace

const SolverMethod& heun() {
  static const Heun method;
  return method;
}

}  // namespace resnet_nodes
