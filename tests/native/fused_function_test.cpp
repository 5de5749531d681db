// fused_function_test.cpp: the fused residual function in float32 against LibTorch's operators in float64.
#include "fused_function.h"

#include <cstdlib>

#include "resnet_nodes/error.h"
#include "resnet_nodes/runtime.h"
#include "truth.h"

namespace resnet_nodes {
namespace {

using namespace truth;

// Sets an environment variable while it lives.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    const char* before = std::getenv(name);
    if (before != nullptr) before_ = before;
    had_ = before != nullptr;
    setenv(name, value, 1);
  }
  ~Environment() {
    if (had_) {
      setenv(name_, before_.c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::string before_;
  bool had_;
};

std::vector<Tensor> narrowed(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> result;
  for (const Tensor& tensor : tensors) result.push_back(torch::stable::to(tensor, ScalarType::Float));
  return result;
}

// The float32 numbers of a problem, so that both dtypes start from the same.
Problem float32(const Problem& problem) {
  Problem result = problem;
  result.x = torch::stable::to(problem.x, ScalarType::Float);
  result.grad = torch::stable::to(problem.grad, ScalarType::Float);
  result.parameters = narrowed(problem.parameters);
  result.buffers = narrowed(problem.buffers);
  return result;
}

Problem float64(const Problem& problem) {
  Problem result = problem;
  result.x = plain(problem.x);
  result.grad = plain(problem.grad);
  for (Tensor& tensor : result.parameters) tensor = plain(tensor);
  for (Tensor& tensor : result.buffers) tensor = plain(tensor);
  return result;
}

// Sums of 9 C products, and over the batch, in float32: sqrt(k) u with u = 6e-8, for each of the chain of two
// convolutions and two normalizations and their products, times the depth. A normalization divides by a deviation that
// small batches make small, and its gradient is a difference of numbers greater than itself: times 10.
double bound(const Problem& problem) {
  const auto k = static_cast<double>(9 * problem.x.size(1) + problem.x.size(0) * problem.x.size(2) * problem.x.size(3));
  return 10 * 4 * std::sqrt(k) * 6e-8 * static_cast<double>(problem.depth);
}

// |a - b| against the larger of |b| and `scale`: a bias before a normalization has a gradient that is 0 but for
// rounding.
void expect_close(const Tensor& found, const Tensor& expected, double allowed, double scale, const std::string& what) {
  const std::vector<double> a = values(found), b = values(expected);
  ASSERT_EQ(a.size(), b.size()) << what;
  double off = 0;
  for (size_t i = 0; i < a.size(); ++i) off += (a[i] - b[i]) * (a[i] - b[i]);
  EXPECT_LE(std::sqrt(off), allowed * std::max(norm(b), scale)) << what;
}

void expect_same_outcome(const Outcome& found, const Outcome& expected, double allowed, const std::string& what) {
  expect_close(found.output, expected.output, allowed, 0, what + ", output");
  expect_close(found.input_gradient, expected.input_gradient, allowed, 0, what + ", gradient of x");
  ASSERT_EQ(found.gradients.size(), expected.gradients.size());
  double scale = 0;
  for (const Tensor& gradient : expected.gradients) scale = std::max(scale, norm(values(gradient)));
  for (size_t i = 0; i < found.gradients.size(); ++i) {
    expect_close(found.gradients[i], expected.gradients[i], allowed, scale, what + ", parameter " + std::to_string(i));
  }
}

StageOptions options_of(ReconstructionKind kind, Solver solver = Solver::euler) {
  StageOptions options;
  options.reconstruction = kind;
  options.solver = solver;
  return options;
}

std::string description(const Problem& p, uint64_t seed) {
  return "seed " + std::to_string(seed) + ", x " + shape_text(p.x) + (p.training ? ", training, " : ", eval, ") +
         active_kernel_path();
}

TEST(FusedFunction, MatchesOperatorsInFloat64OnRandomShapes) {
  constexpr int64_t kChannels[] = {8, 16, 24, 32, 48};
  Generator generator(3);
  const auto between = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(generator);
  };
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const int64_t channels = kChannels[seed % 5];
    const Shape shape{between(1, 5), channels, between(1, 13), between(1, 13)};
    // Statistics of a few values amplify rounding without bound.
    if (shape[0] * shape[2] * shape[3] < 16) continue;
    FunctionSpec function = tiny_function(channels);
    function.layers[0].bias = between(0, 3) > 0;
    function.layers[1].affine = between(0, 3) > 0;
    function.layers[4].affine = between(0, 3) > 0;
    function.layers[4].track_statistics = between(0, 3) > 0;
    const Problem narrow = float32(make_problem({function, function}, 2, shape, seed, between(0, 3) > 0));
    const Problem wide = float64(narrow);
    ASSERT_NE(Stage(narrow.functions, 2, StageOptions()).function_path(0, narrow.x).find("fused"), std::string::npos);
    const StageOptions options = options_of(ReconstructionKind::backprop);
    expect_same_outcome(run(narrow, options), run(wide, options), bound(narrow), description(narrow, seed));
  }
}

TEST(FusedFunction, ReconstructsAsOperatorsDo) {
  for (const Solver solver : {Solver::euler, Solver::heun}) {
    for (const ReconstructionPlan& plan : reconstruction_plans()) {
      for (const bool shared : {false, true}) {
        // Where a mask flips between two reconstructions, their gradients differ by more than rounding: weights small
        // enough that all find the same states to float32's precision.
        Problem problem =
            make_problem(std::vector<FunctionSpec>(shared ? 1 : 4, tiny_function(16)), 4, {3, 16, 7, 5}, 5);
        StageOptions options = options_of(plan.kind, solver);
        options.step_size = 1e-3;
        options.count = plan.kind == ReconstructionKind::corrected ? 3 : 0;
        const Problem narrow = float32(problem);
        const Outcome found = run(narrow, options), expected = run(float64(narrow), options);
        const std::string what =
            plan.name + (solver == Solver::heun ? ", heun" : ", euler") + (shared ? ", shared" : "");
        expect_same_outcome(found, expected, 10 * bound(narrow), what);
        if (plan.kind != ReconstructionKind::adaptive) {
          EXPECT_EQ(found.report.evaluations, expected.report.evaluations) << what;
        }
      }
    }
  }
}

}  // namespace
}  // namespace resnet_nodes
