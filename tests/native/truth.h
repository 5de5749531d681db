// truth.h: what the tests compare with: seeded data, finite differences, fits.
#pragma once

#include <gtest/gtest.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "resnet_nodes/error.h"
#include "resnet_nodes/stage.h"
#include "walk/adaptive/learned.h"

namespace resnet_nodes::truth {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Shape = std::vector<int64_t>;
using Generator = std::mt19937_64;

/// Where the tests' tensors are: RESNET_NODES_TEST_DEVICE, "cpu" or "cuda".
inline torch::stable::Device device() {
  static const bool cuda = [] {
    const char* name = std::getenv("RESNET_NODES_TEST_DEVICE");
    return name != nullptr && std::string(name) == "cuda";
  }();
  using torch::headeronly::DeviceType;
  return cuda ? torch::stable::Device(DeviceType::CUDA, 0) : torch::stable::Device(DeviceType::CPU);
}

inline bool on_cpu() { return device().type() == torch::headeronly::DeviceType::CPU; }

/// RESNET_NODES_TEST_DELAYED: figures arrive late on the CPU too, in all tests, as they do on a GPU.
inline const bool delays_forced = [] {
  const bool forced = std::getenv("RESNET_NODES_TEST_DELAYED") != nullptr;
  delay_on_cpu(forced);
  return forced;
}();

/// Whether the tests' figures arrive late.
inline bool delayed() { return delays_forced || !on_cpu(); }

inline Tensor on_device(const Tensor& tensor) { return torch::stable::to(tensor, device()); }

inline Tensor on_host(const Tensor& tensor) {
  return torch::stable::to(tensor, torch::stable::Device(torch::headeronly::DeviceType::CPU));
}

/// The solvers that there are.
inline std::vector<std::string> solver_names() {
  std::vector<std::string> names;
  for (const SolverPlan& plan : solver_plans()) names.push_back(plan.name);
  return names;
}

/// Float64 tensor of normal numbers times `scale`.
inline Tensor normal(const Shape& shape, Generator& generator, double scale = 1.0) {
  Tensor tensor = torch::stable::empty(shape, ScalarType::Double);
  std::normal_distribution<double> distribution;
  auto* data = static_cast<double*>(tensor.mutable_data_ptr());
  for (int64_t i = 0; i < tensor.numel(); ++i) data[i] = scale * distribution(generator);
  return on_device(tensor);
}

inline Tensor constant(const Shape& shape, double value) {
  return torch::stable::full(shape, value, ScalarType::Double, std::nullopt, device());
}

/// A row-major float64 copy.
inline Tensor plain(const Tensor& tensor) {
  return torch::stable::clone(torch::stable::contiguous(torch::stable::to(tensor, ScalarType::Double)));
}

/// Values of a tensor of any layout and floating type, row-major.
inline std::vector<double> values(const Tensor& tensor) {
  const Tensor copy = on_host(plain(tensor));
  const auto* data = static_cast<const double*>(copy.const_data_ptr());
  return {data, data + copy.numel()};
}

inline std::vector<double> values(const std::vector<Tensor>& tensors) {
  std::vector<double> all;
  for (const Tensor& tensor : tensors) {
    if (!tensor.defined()) continue;
    const std::vector<double> some = values(tensor);
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double total = 0;
  for (size_t i = 0; i < a.size(); ++i) total += a[i] * b[i];
  return total;
}

inline double norm(const std::vector<double>& a) { return std::sqrt(dot(a, a)); }

/// |a - b| / |b|.
inline double relative_error(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double total = 0;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) total += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(total) / norm(b);
}

/// That two float64 passes give the same numbers: the same bits on the CPU. On a GPU cuDNN adds up gradients in the
/// order in which its blocks end: off by rounding, 1e-16 a sum, which a walk back over a few steps amplifies.
inline void expect_same(const std::vector<double>& found, const std::vector<double>& expected,
                        const std::string& what) {
  if (on_cpu()) {
    EXPECT_EQ(found, expected) << what;
  } else if (found != expected) {
    EXPECT_LT(relative_error(found, expected), 1e-11) << what;
  }
}

/// tensor + amount * direction, as a fresh row-major float64 tensor.
inline Tensor moved(const Tensor& tensor, const Tensor& direction, double amount) {
  Tensor result = plain(on_host(tensor));
  auto* data = static_cast<double*>(result.mutable_data_ptr());
  const std::vector<double> step = values(direction);
  for (size_t i = 0; i < step.size(); ++i) data[i] += amount * step[i];
  return on_device(result);
}

/// The unit matrix times `factor`.
inline Tensor diagonal(int64_t size, double factor) {
  Tensor result = on_host(constant({size, size}, 0));
  for (int64_t i = 0; i < size; ++i) static_cast<double*>(result.mutable_data_ptr())[(size + 1) * i] = factor;
  return on_device(result);
}

/// Slope of log error over log n by least squares.
inline double fitted_slope(const std::vector<double>& n, const std::vector<double>& error) {
  double sx = 0, sy = 0, sxx = 0, sxy = 0;
  const auto count = static_cast<double>(n.size());
  for (size_t i = 0; i < n.size(); ++i) {
    const double x = std::log(n[i]), y = std::log(error[i]);
    sx += x, sy += y, sxx += x * x, sxy += x * y;
  }
  return (count * sxy - sx * sy) / (count * sxx - sx * sx);
}

inline LayerSpec conv(int64_t in, int64_t out, int64_t kernel = 3, int64_t dilation = 1, int64_t groups = 1,
                      bool bias = true) {
  LayerSpec spec;
  spec.kind = LayerKind::conv2d;
  spec.in_features = in;
  spec.out_features = out;
  spec.kernel_height = spec.kernel_width = kernel;
  spec.padding_height = spec.padding_width = dilation * (kernel - 1) / 2;
  spec.dilation_height = spec.dilation_width = dilation;
  spec.groups = groups;
  spec.bias = bias;
  return spec;
}

inline LayerSpec linear(int64_t in, int64_t out, bool bias = true) {
  LayerSpec spec;
  spec.kind = LayerKind::linear;
  spec.in_features = in;
  spec.out_features = out;
  spec.bias = bias;
  return spec;
}

inline LayerSpec batch_norm(int64_t channels, bool affine = true, bool track = true) {
  LayerSpec spec;
  spec.kind = LayerKind::batch_norm2d;
  spec.in_features = channels;
  spec.affine = affine;
  spec.track_statistics = track;
  return spec;
}

inline LayerSpec activation(LayerKind kind, bool tanh_approximation = false) {
  LayerSpec spec;
  spec.kind = kind;
  spec.tanh_approximation = tanh_approximation;
  return spec;
}

/// A layer that moves a window over an image, or takes pixels of it.
inline LayerSpec window(LayerKind kind, int64_t kernel, int64_t stride, int64_t padding = 0) {
  LayerSpec spec;
  spec.kind = kind;
  spec.kernel_height = spec.kernel_width = kernel;
  spec.stride_height = spec.stride_width = stride;
  spec.padding_height = spec.padding_width = padding;
  return spec;
}

inline LayerSpec strided(LayerSpec spec, int64_t stride) {
  spec.stride_height = spec.stride_width = stride;
  return spec;
}

/// The layer with its input from somewhere else.
inline LayerSpec from(int64_t input, LayerSpec spec) {
  spec.input = input;
  return spec;
}

/// The sum of the layer before and another one.
inline LayerSpec plus(int64_t other) {
  LayerSpec spec;
  spec.kind = LayerKind::add;
  spec.other = other;
  return spec;
}

/// The first block of a stage: relu(branch(x) + shortcut(x)), with stride 2. Another activation where kinks would
/// disturb differences.
inline FunctionSpec first_block(int64_t in, int64_t planes, LayerKind kind = LayerKind::relu) {
  const LayerSpec relu = activation(kind);
  return {{conv(in, planes, 1, 1, 1, false), batch_norm(planes), relu, strided(conv(planes, planes, 3, 1, 1, false), 2),
           batch_norm(planes), relu, conv(planes, 4 * planes, 1, 1, 1, false), batch_norm(4 * planes),
           from(kFunctionInput, window(LayerKind::subsample, 1, 2)), conv(in, 4 * planes, 1, 1, 1, false),
           batch_norm(4 * planes), plus(7), relu}};
}

/// The residual function of a bottleneck network.
inline FunctionSpec bottleneck(int64_t channels, int64_t planes, LayerKind kind = LayerKind::relu) {
  const LayerSpec relu = activation(kind);
  return {{relu, conv(channels, planes, 1, 1, 1, false), batch_norm(planes), relu, conv(planes, planes, 3, 1, 1, false),
           batch_norm(planes), relu, conv(planes, channels, 1, 1, 1, false), batch_norm(channels)}};
}

/// That an action throws an Error of one line that says so.
inline void expect_error(const std::function<void()>& action, const std::string& part) {
  try {
    action();
    ADD_FAILURE() << "no error, expected one that says: " << part;
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

/// TinyResNet's residual function.
inline FunctionSpec tiny_function(int64_t channels) {
  return {{conv(channels, channels), batch_norm(channels), activation(LayerKind::relu), conv(channels, channels),
           batch_norm(channels)}};
}

/// Everything that a stage is called with.
struct Problem {
  std::vector<FunctionSpec> functions;
  int64_t depth = 1;
  Tensor x;
  Tensor grad;
  std::vector<Tensor> parameters;
  std::vector<Tensor> buffers;
  std::vector<int32_t> training;  ///< one flag a batch normalization
};

/// Random parameters (batch normalization's near 1, variances positive), input and cotangent for these functions.
inline Problem make_problem(const std::vector<FunctionSpec>& functions, int64_t depth, const Shape& shape,
                            uint64_t seed, bool training = true) {
  Generator generator(seed);
  Problem problem{functions, depth, normal(shape, generator), normal(shape, generator), {}, {}, {}};
  for (const FunctionSpec& function : functions) {
    for (const LayerSpec& layer : function.layers) {
      const Shape features{layer.out_features};
      if (layer.kind == LayerKind::conv2d) {
        const int64_t fan = layer.in_features / layer.groups * layer.kernel_height * layer.kernel_width;
        problem.parameters.push_back(
            normal({layer.out_features, layer.in_features / layer.groups, layer.kernel_height, layer.kernel_width},
                   generator, 1 / std::sqrt(static_cast<double>(fan))));
        if (layer.bias) problem.parameters.push_back(normal(features, generator, 0.1));
      } else if (layer.kind == LayerKind::linear) {
        problem.parameters.push_back(normal({layer.out_features, layer.in_features}, generator,
                                            1 / std::sqrt(static_cast<double>(layer.in_features))));
        if (layer.bias) problem.parameters.push_back(normal(features, generator, 0.1));
      } else if (layer.kind == LayerKind::batch_norm2d) {
        const Shape channels{layer.in_features};
        problem.training.push_back(training ? 1 : 0);
        if (layer.affine) {
          problem.parameters.push_back(moved(constant(channels, 1), normal(channels, generator), 0.2));
          problem.parameters.push_back(normal(channels, generator, 0.2));
        }
        if (layer.track_statistics) {
          problem.buffers.push_back(normal(channels, generator, 0.1));
          problem.buffers.push_back(constant(channels, 1.3));
        }
      }
    }
  }
  return problem;
}

/// A function alone: the cotangent has the shape of its output.
inline Problem make_problem_alone(const FunctionSpec& function, const Shape& shape, uint64_t seed,
                                  bool training = true) {
  Problem problem = make_problem({function}, 1, shape, seed, training);
  StageOptions options;
  options.residual = false;
  options.reconstruction = ReconstructionKind::checkpoint;
  std::vector<Tensor> buffers;
  for (const Tensor& buffer : problem.buffers) buffers.push_back(torch::stable::clone(buffer));
  const Tensor output =
      Stage(problem.functions, 1, options).evaluate(problem.x, problem.parameters, buffers, problem.training);
  Generator generator(seed + 1);
  problem.grad = normal(Shape(output.sizes().begin(), output.sizes().end()), generator);
  return problem;
}

struct Outcome {
  Tensor output;
  Tensor input_gradient;
  std::vector<Tensor> gradients;
  StageReport report;
};

inline std::vector<Tensor> copies(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> result;
  for (const Tensor& tensor : tensors) result.push_back(torch::stable::clone(tensor));
  return result;
}

/// A training step of this stage: forward, backward. The report is complete, so that the next step knows what this one
/// found.
inline Outcome pass(const Stage& stage, const Problem& problem, const std::vector<Tensor>& buffers) {
  const auto context = stage.forward(problem.x, problem.parameters, buffers, problem.training);
  Outcome outcome;
  outcome.output = context->output();
  stage.backward(*context, problem.grad, std::vector<int32_t>(problem.parameters.size(), 1), {});
  outcome.input_gradient = context->input_gradient();
  outcome.gradients = context->parameter_gradients();
  outcome.report = context->report();
  return outcome;
}

/// The same on copies of the buffers.
inline Outcome pass(const Stage& stage, const Problem& problem) {
  return pass(stage, problem, copies(problem.buffers));
}

/// The first training step of a stage.
inline Outcome run(const Problem& problem, const StageOptions& options) {
  return pass(Stage(problem.functions, problem.depth, options), problem);
}

/// Steps of the report whose state came from there.
inline int64_t count(const StageReport& report, StateSource source) {
  return std::count_if(report.steps.begin(), report.steps.end(),
                       [&](const StepReport& step) { return step.source == source; });
}

/// The largest error of a step that the report estimates.
inline double largest_error(const StageReport& report) {
  double largest = 0;
  for (const StepReport& step : report.steps) largest = std::max(largest, step.error);
  return largest;
}

/// <cotangent, stage(x)> for these parameters.
inline double loss(const Problem& problem, const StageOptions& options, const Tensor& x,
                   const std::vector<Tensor>& parameters) {
  const Stage stage(problem.functions, problem.depth, options);
  return dot(values(stage.evaluate(x, parameters, copies(problem.buffers), problem.training)), values(problem.grad));
}

/// Central differences of `loss` along a unit direction drawn for each argument, against the gradients of `outcome`.
/// Truncation is about delta^2 = 4e-11 of |vjp| |v|. The loss is a sum of numbers of size |cotangent| |output|; its
/// rounding, divided by delta, counts where a gradient is small or 0, as that of a bias before batch normalization.
inline void expect_finite_differences(const Problem& problem, const StageOptions& options, const Outcome& outcome,
                                      Generator& generator, double bound = 1e-9) {
  const double delta = std::cbrt(2.2e-16);
  const double rounding = 4 * 2.2e-16 * norm(values(problem.grad)) * norm(values(outcome.output)) / delta;
  const auto compare = [&](const Tensor& at, const Tensor& gradient, const std::string& name,
                           const std::function<double(const Tensor&)>& at_point) {
    Tensor direction = normal(Shape(at.sizes().begin(), at.sizes().end()), generator);
    const double length = norm(values(direction));
    const double difference =
        (at_point(moved(at, direction, delta / length)) - at_point(moved(at, direction, -delta / length))) /
        (2 * delta);
    const double expected = dot(values(gradient), values(direction)) / length;
    EXPECT_NEAR(difference, expected, bound * norm(values(gradient)) + rounding) << name;
  };
  compare(problem.x, outcome.input_gradient, "x",
          [&](const Tensor& x) { return loss(problem, options, x, problem.parameters); });
  for (size_t i = 0; i < problem.parameters.size(); ++i) {
    compare(problem.parameters[i], outcome.gradients[i], "parameter " + std::to_string(i), [&](const Tensor& p) {
      std::vector<Tensor> parameters = problem.parameters;
      parameters[i] = p;
      return loss(problem, options, problem.x, parameters);
    });
  }
}

}  // namespace resnet_nodes::truth
