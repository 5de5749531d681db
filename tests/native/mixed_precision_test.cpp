// mixed_precision_test.cpp: functions in bfloat16 around float32 states, parameters and gradients.
#include <cmath>

#include "bfloat16_bounds.h"
#include "device/cuda_launch.h"
#include "resnet_nodes/error.h"
#include "truth.h"

namespace resnet_nodes {
namespace {

using namespace truth;

constexpr double kUnit = BFloat16Bounds::kUnit;

Problem as(const Problem& exact, ScalarType type) {
  Problem problem = exact;
  problem.x = torch::stable::to(exact.x, type);
  problem.grad = torch::stable::to(exact.grad, type);
  for (Tensor& tensor : problem.parameters) tensor = torch::stable::to(tensor, type);
  for (Tensor& tensor : problem.buffers) tensor = torch::stable::to(tensor, type);
  return problem;
}

StageOptions mixed(ReconstructionKind kind = ReconstructionKind::adaptive) {
  StageOptions options;
  options.reconstruction = kind;
  options.compute_type = ComputeType::bfloat16;
  return options;
}

// By operators, and fused where the processor has instructions for that.
constexpr int64_t kChannels[] = {8, 16};

Problem tiny_problem(int64_t depth, uint64_t seed = 3, int64_t channels = 8) {
  return make_problem(std::vector<FunctionSpec>(static_cast<size_t>(depth), tiny_function(channels)), depth,
                      {8, channels, 6, 6}, seed);
}

struct Row {
  const char* name;
  FunctionSpec function;
  Shape shape;
};

std::vector<Row> rows() {
  const auto gelu = activation(LayerKind::gelu), tanh = activation(LayerKind::tanh), relu = activation(LayerKind::relu);
  return {
      {"dense", {{linear(16, 24), tanh, linear(24, 16, false)}}, {32, 16}},
      {"images", {{conv(8, 8), gelu, conv(8, 8, 1)}}, {8, 8, 6, 6}},
      {"normalized", {{conv(8, 8), batch_norm(8), gelu, conv(8, 8), batch_norm(8)}}, {8, 8, 6, 6}},
      {"normalized without weights", {{batch_norm(8, false), conv(8, 8)}}, {8, 8, 6, 6}},
      {"normalized by the batch alone", {{batch_norm(8, false, false), conv(8, 8, 3, 1, 8)}}, {8, 8, 6, 6}},
      {"residual function", tiny_function(8), {8, 8, 6, 6}},
      {"fused residual function", tiny_function(16), {8, 16, 6, 6}},
      {"fused bottleneck", bottleneck(32, 16), {8, 32, 5, 5}},
      {"activation last", {{linear(16, 16), relu}}, {32, 16}},
  };
}

class MixedRows : public testing::TestWithParam<size_t> {};

// Tolerance 0.02 of an increment adds 0.02 h.
TEST_P(MixedRows, AgreeWithFloat64) {
  const Row row = rows()[GetParam()];
  const BFloat16Bounds bounds(row.function);
  const int64_t depth = 8;
  const std::vector<std::string> solvers = solver_names();
  for (int variant = 0; variant < 4 * static_cast<int>(solvers.size()); ++variant) {
    const bool shared = (variant & 1) != 0, training = (variant & 2) != 0;
    const Problem exact =
        make_problem(std::vector<FunctionSpec>(shared ? 1 : depth, row.function), depth, row.shape, 3, training);
    StageOptions stored;
    stored.solver = solvers[static_cast<size_t>(variant / 4)];
    stored.reconstruction = ReconstructionKind::backprop;
    const Outcome expected = run(exact, stored);
    for (const auto& [kind, count] :
         {std::pair{ReconstructionKind::backprop, 0}, std::pair{ReconstructionKind::checkpoint, 3},
          std::pair{ReconstructionKind::corrected, 4}, std::pair{ReconstructionKind::adaptive, 6}}) {
      SCOPED_TRACE(std::string(row.name) + (shared ? ", shared" : "") + (training ? ", training" : ", evaluation") +
                   ", " + stored.solver + ", kind " + std::to_string(static_cast<int>(kind)));
      StageOptions options = mixed(kind);
      options.solver = stored.solver;
      options.count = count;
      options.tolerance = 0.02;
      const Outcome found = run(as(exact, ScalarType::Float), options);
      EXPECT_LT(relative_error(values(found.output), values(expected.output)), bounds.output);
      EXPECT_LT(relative_error(values(found.input_gradient), values(expected.input_gradient)), bounds.gradient);
      EXPECT_LT(relative_error(values(found.gradients), values(expected.gradients)), bounds.gradient);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, MixedRows, testing::Range(size_t{0}, rows().size()));

// Rounding a number x to bfloat16 and back leaves x where x has that type.
bool is_bfloat16(const Tensor& tensor) {
  return values(torch::stable::to(tensor, ScalarType::BFloat16)) == values(tensor);
}

TEST(MixedPrecision, StatesAndGradientsAreFloat32) {
  for (const int64_t channels : kChannels) {
    for (const ReconstructionPlan& plan : reconstruction_plans()) {
      SCOPED_TRACE(plan.name + ", " + std::to_string(channels) + " channels");
      const Outcome outcome = run(as(tiny_problem(6, 3, channels), ScalarType::Float), mixed(plan.kind));
      EXPECT_EQ(outcome.output.scalar_type(), ScalarType::Float);
      EXPECT_FALSE(is_bfloat16(outcome.output));
      EXPECT_EQ(outcome.input_gradient.scalar_type(), ScalarType::Float);
      for (const Tensor& gradient : outcome.gradients) EXPECT_EQ(gradient.scalar_type(), ScalarType::Float);
    }
  }
}

// 16 contributions of a shared function: bfloat16 has 8 bits, and could add none of them to 4096.
void expect_gradients_add_up(int64_t channels) {
  const Problem problem = as(make_problem({tiny_function(channels)}, 16, {8, channels, 6, 6}, 5), ScalarType::Float);
  const Outcome returned = run(problem, mixed());
  const Stage stage(problem.functions, problem.depth, mixed());
  const auto context = stage.forward(problem.x, problem.parameters, copies(problem.buffers), problem.training);
  std::vector<Tensor> into;
  for (const Tensor& p : problem.parameters) {
    into.push_back(torch::stable::full(Shape(p.sizes().begin(), p.sizes().end()), 4096.0, ScalarType::Float,
                                       std::nullopt, device()));
  }
  stage.backward(*context, problem.grad, std::vector<int32_t>(into.size(), 1), into);
  for (size_t i = 0; i < into.size(); ++i) {
    std::vector<double> found = values(into[i]);
    const std::vector<double> expected = values(returned.gradients[i]);
    // float32 beside 4096: 16 roundings of at most 2.5e-4 each, in every entry.
    for (size_t k = 0; k < found.size(); ++k) EXPECT_NEAR(found[k] - 4096, expected[k], 16 * 2.5e-4) << i << " " << k;
  }
}

TEST(MixedPrecision, GradientsAddUpInFloat32) {
  for (const int64_t channels : kChannels) expect_gradients_add_up(channels);
}

void expect_statistics_change_once(int64_t channels) {
  const Problem exact = tiny_problem(6, 8, channels), problem = as(exact, ScalarType::Float);
  const std::vector<Tensor> truth = copies(exact.buffers);
  Stage(exact.functions, exact.depth, StageOptions()).evaluate(exact.x, exact.parameters, truth, exact.training);
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    const Stage stage(problem.functions, problem.depth, mixed(plan.kind));
    const std::vector<Tensor> once = copies(problem.buffers), buffers = copies(problem.buffers);
    stage.evaluate(problem.x, problem.parameters, once, problem.training);
    const auto context = stage.forward(problem.x, problem.parameters, buffers, problem.training);
    stage.backward(*context, problem.grad, std::vector<int32_t>(problem.parameters.size(), 1), {});
    EXPECT_EQ(values(buffers), values(once)) << plan.name;
    for (const Tensor& buffer : buffers) EXPECT_EQ(buffer.scalar_type(), ScalarType::Float) << plan.name;
    // Mean and variance of inputs that are off by the rounding of at most 4 layers.
    EXPECT_LT(relative_error(values(buffers), values(truth)), std::sqrt(2.0 * 4) * kUnit) << plan.name;
  }
}

TEST(MixedPrecision, RunningStatisticsChangeOnceAndStayFloat32) {
  for (const int64_t channels : kChannels) expect_statistics_change_once(channels);
}

// Narrow copies belong to one pass: the same stage with other parameters gives what a fresh stage gives.
void expect_results_of_arguments_alone(int64_t channels) {
  for (const std::string& solver : solver_names()) {
    StageOptions options = mixed();
    options.solver = solver;
    const Problem first = as(tiny_problem(5, 1, channels), ScalarType::Float);
    const Problem second = as(tiny_problem(5, 2, channels), ScalarType::Float);
    const Stage stage(first.functions, first.depth, options);
    const std::vector<int32_t> wanted(first.parameters.size(), 1);
    const auto one = stage.forward(first.x, first.parameters, copies(first.buffers), first.training);
    const auto other = stage.forward(second.x, second.parameters, copies(second.buffers), second.training);
    stage.backward(*one, first.grad, wanted, {});
    stage.backward(*other, second.grad, wanted, {});
    EXPECT_EQ(values(one->parameter_gradients()), values(run(first, options).gradients));
    EXPECT_EQ(values(other->parameter_gradients()), values(run(second, options).gradients));
    EXPECT_EQ(values(other->input_gradient()), values(run(second, options).input_gradient));
  }
}

TEST(MixedPrecision, ResultsDependOnArgumentsAlone) {
  for (const int64_t channels : kChannels) expect_results_of_arguments_alone(channels);
}

// A state of float32 is reconstructed, one of bfloat16 is lost in its own rounding: the state moves by h f_n, its
// rounding stays. At depth 128: u = 4e-3 in each step against some u h.
void expect_state_is_reconstructed(int64_t channels) {
  const Problem exact = tiny_problem(128, 3, channels);
  StageOptions options = mixed();
  options.keep_input = true;
  options.reconstruction = ReconstructionKind::corrected;
  options.count = 2;
  const StageReport report = run(as(exact, ScalarType::Float), options).report;
  EXPECT_LE(largest_error(report), options.tolerance);
  EXPECT_LT(report.reconstruction_error, kUnit / 4);
  options.compute_type = ComputeType::same_as_state;
  EXPECT_GT(run(as(exact, ScalarType::BFloat16), options).report.reconstruction_error, kUnit);
}

TEST(MixedPrecision, Float32StateIsReconstructed) {
  for (const int64_t channels : kChannels) expect_state_is_reconstructed(channels);
}

void expect_refused(const std::function<void()>& call, const std::string& message) {
  try {
    call();
    ADD_FAILURE() << "expected: " << message;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  }
}

TEST(MixedPrecision, RefusesOtherStatesAndCallbacks) {
  const Problem exact = tiny_problem(2);
  for (const ScalarType type : {ScalarType::Double, ScalarType::BFloat16}) {
    expect_refused([&] { run(as(exact, type), mixed()); },
                   "expected float32: compute_type bfloat16 keeps states and parameters in it");
  }
  expect_refused([&] { const Stage stage(2, mixed()); }, "compute_type is bfloat16, but external functions");
}

TEST(MixedPrecision, PathSaysSo) {
  const Problem problem = as(tiny_problem(2), ScalarType::Float);
  const Stage stage(problem.functions, 2, mixed());
  const std::string steps = cuda_kernels_for(problem.x) != nullptr ? ", cuda steps" : "";
  EXPECT_EQ(stage.function_path(0, problem.x), "operators, channels_last, bfloat16" + steps);
}

}  // namespace
}  // namespace resnet_nodes
