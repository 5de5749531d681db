// fused_truth.h: what the tests of fused functions share: the same problem in two types, and what both give.
#pragma once

#include <algorithm>
#include <cstdlib>

#include "truth.h"

namespace resnet_nodes::truth {

/// Sets an environment variable while it lives.
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

inline std::vector<Tensor> narrowed(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> result;
  for (const Tensor& tensor : tensors) result.push_back(torch::stable::to(tensor, ScalarType::Float));
  return result;
}

/// The float32 numbers of a problem, so that both dtypes start from the same.
inline Problem float32(const Problem& problem) {
  Problem result = problem;
  result.x = torch::stable::to(problem.x, ScalarType::Float);
  result.grad = torch::stable::to(problem.grad, ScalarType::Float);
  result.parameters = narrowed(problem.parameters);
  result.buffers = narrowed(problem.buffers);
  return result;
}

inline Problem float64(const Problem& problem) {
  Problem result = problem;
  result.x = plain(problem.x);
  result.grad = plain(problem.grad);
  for (Tensor& tensor : result.parameters) tensor = plain(tensor);
  for (Tensor& tensor : result.buffers) tensor = plain(tensor);
  return result;
}

/// |a - b| against the larger of |b| and `scale`: a bias before a normalization has a gradient that is 0 but for
/// rounding.
inline void expect_close(const Tensor& found, const Tensor& expected, double allowed, double scale,
                         const std::string& what) {
  const std::vector<double> a = values(found), b = values(expected);
  ASSERT_EQ(a.size(), b.size()) << what;
  double off = 0;
  for (size_t i = 0; i < a.size(); ++i) off += (a[i] - b[i]) * (a[i] - b[i]);
  EXPECT_LE(std::sqrt(off), allowed * std::max(norm(b), scale)) << what;
}

inline void expect_same_outcome(const Outcome& found, const Outcome& expected, double allowed,
                                const std::string& what) {
  expect_close(found.output, expected.output, allowed, 0, what + ", output");
  expect_close(found.input_gradient, expected.input_gradient, allowed, 0, what + ", gradient of x");
  ASSERT_EQ(found.gradients.size(), expected.gradients.size());
  double scale = 0;
  for (const Tensor& gradient : expected.gradients) scale = std::max(scale, norm(values(gradient)));
  for (size_t i = 0; i < found.gradients.size(); ++i) {
    expect_close(found.gradients[i], expected.gradients[i], allowed, scale, what + ", parameter " + std::to_string(i));
  }
}

inline StageOptions options_of(ReconstructionKind kind, const std::string& solver = "euler") {
  StageOptions options;
  options.reconstruction = kind;
  options.solver = solver;
  return options;
}

/// A training step on all threads against one on a single thread.
inline void expect_same_bits_on_one_thread(const Problem& problem, const StageOptions& options = StageOptions()) {
  const Outcome all = run(problem, options);
  Outcome alone;
  // What runs inside of a parallel loop has one thread to itself.
  torch::stable::parallel_for(0, 2, 1, [&](int64_t begin, int64_t) {
    if (begin == 0) alone = run(problem, options);
  });
  EXPECT_EQ(values(alone.output), values(all.output));
  EXPECT_EQ(values(alone.input_gradient), values(all.input_gradient));
  EXPECT_EQ(values(alone.gradients), values(all.gradients));
}

/// Each parameter's gradient wanted alone, added to a given tensor for every second one, against that of a full run.
/// `given`: what the zeros are turned into that it is added to.
template <typename Given>
void expect_frozen_and_given_as_in_full(const Problem& problem, const Given& given,
                                        const StageOptions& options = StageOptions()) {
  const Outcome all = run(problem, options);
  const size_t count = problem.parameters.size();
  for (size_t only = 0; only < count; ++only) {
    const Stage stage(problem.functions, problem.depth, options);
    const auto context = stage.forward(problem.x, problem.parameters, copies(problem.buffers), problem.training);
    std::vector<int32_t> wanted(count, 0);
    wanted[only] = 1;
    std::vector<Tensor> into(count);
    const bool is_given = only % 2 == 0;
    if (is_given) {
      into[only] = given(torch::stable::full(problem.parameters[only].sizes(), 0.0, ScalarType::Float));
    }
    stage.backward(*context, problem.grad, wanted, is_given ? into : std::vector<Tensor>());
    const std::vector<Tensor> returned = context->parameter_gradients();
    for (size_t i = 0; i < count; ++i) EXPECT_EQ(returned[i].defined(), i == only && !is_given) << i;
    EXPECT_EQ(values(is_given ? into[only] : returned[only]), values(all.gradients[only])) << only;
    EXPECT_EQ(values(context->input_gradient()), values(all.input_gradient)) << only;
  }
}

}  // namespace resnet_nodes::truth
