// layers_test.cpp: each layer's vector-Jacobian product against central differences, over random shapes.
#include "layers/layer.h"
#include "truth.h"

namespace resnet_nodes {
namespace {

using namespace truth;

/// max(the layer before, -another one).
LayerSpec rectified(int64_t other) {
  LayerSpec spec = plus(other);
  spec.kind = LayerKind::rectify;
  return spec;
}

struct Row {
  const char* name;
  std::function<FunctionSpec(int64_t channels, Generator&)> function;
  bool flat;  // input [B, D]
  std::vector<LayerKind> covers;
  bool alone = false;  // changes the shape
  // Where few weights feed a normalization its third derivatives are large: truncation counts.
  double bound = 1e-9;
};

int64_t pick(Generator& generator, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(generator);
}

const std::vector<Row>& rows() {
  static const std::vector<Row> table{
      {"conv2d", [](int64_t c, Generator&) { return FunctionSpec{{conv(c, c)}}; }, false, {LayerKind::conv2d}},
      {"conv2d without bias, other width",
       [](int64_t c, Generator& g) {
         const int64_t k = pick(g, 1, 6);
         return FunctionSpec{{conv(c, k, 3, 1, 1, false), conv(k, c, 1)}};
       },
       false,
       {LayerKind::conv2d}},
      {"conv2d dilated",
       [](int64_t c, Generator&) { return FunctionSpec{{conv(c, c, 3, 2)}}; },
       false,
       {LayerKind::conv2d}},
      {"conv2d depthwise",
       [](int64_t c, Generator&) { return FunctionSpec{{conv(c, c, 5, 1, c)}}; },
       false,
       {LayerKind::conv2d}},
      {"linear",
       [](int64_t c, Generator& g) {
         const int64_t k = pick(g, 1, 9);
         return FunctionSpec{{linear(c, k), linear(k, c, false)}};
       },
       true,
       {LayerKind::linear}},
      {"batch_norm2d",
       [](int64_t c, Generator&) { return FunctionSpec{{batch_norm(c)}}; },
       false,
       {LayerKind::batch_norm2d}},
      {"batch_norm2d without weights",
       [](int64_t c, Generator&) { return FunctionSpec{{batch_norm(c, false)}}; },
       false,
       {LayerKind::batch_norm2d}},
      {"batch_norm2d without running statistics",
       [](int64_t c, Generator&) { return FunctionSpec{{batch_norm(c, true, false)}}; },
       false,
       {LayerKind::batch_norm2d}},
      {"relu",
       [](int64_t c, Generator&) {
         return FunctionSpec{{activation(LayerKind::relu), linear(c, c)}};
       },
       true,
       {LayerKind::relu}},
      {"tanh",
       [](int64_t c, Generator&) {
         return FunctionSpec{{linear(c, c), activation(LayerKind::tanh)}};
       },
       true,
       {LayerKind::tanh}},
      {"gelu",
       [](int64_t c, Generator&) {
         return FunctionSpec{{linear(c, c), activation(LayerKind::gelu)}};
       },
       true,
       {LayerKind::gelu}},
      {"gelu by tanh",
       [](int64_t c, Generator&) {
         return FunctionSpec{{activation(LayerKind::gelu, true), linear(c, c)}};
       },
       true,
       {LayerKind::gelu}},
      {"identity",
       [](int64_t, Generator&) { return FunctionSpec{{activation(LayerKind::identity)}}; },
       true,
       {LayerKind::identity}},
      {"conv2d strided",
       [](int64_t c, Generator& g) { return FunctionSpec{{strided(conv(c, pick(g, 1, 6)), 2)}}; },
       false,
       {LayerKind::conv2d},
       true},
      {"conv2d 1x1 strided",
       [](int64_t c, Generator& g) { return FunctionSpec{{strided(conv(c, pick(g, 1, 6), 1), 3)}}; },
       false,
       {LayerKind::conv2d},
       true},
      {"subsample",
       [](int64_t, Generator& g) { return FunctionSpec{{window(LayerKind::subsample, 1, pick(g, 1, 3))}}; },
       false,
       {LayerKind::subsample},
       true},
      {"max_pool2d",
       [](int64_t, Generator& g) { return FunctionSpec{{window(LayerKind::max_pool2d, 3, pick(g, 1, 3), 1)}}; },
       false,
       {LayerKind::max_pool2d},
       true},
      {"avg_pool2d",
       [](int64_t, Generator& g) { return FunctionSpec{{window(LayerKind::avg_pool2d, 4, pick(g, 1, 4), 2)}}; },
       false,
       {LayerKind::avg_pool2d},
       true},
      {"head",
       [](int64_t c, Generator& g) {
         return FunctionSpec{
             {activation(LayerKind::global_avg_pool2d), activation(LayerKind::flatten), linear(c, pick(g, 1, 4))}};
       },
       false,
       {LayerKind::global_avg_pool2d, LayerKind::flatten},
       true},
      {"add",
       [](int64_t c, Generator&) {
         return FunctionSpec{{conv(c, c), plus(kFunctionInput)}};
       },
       false,
       {LayerKind::add}},
      {"add twice",
       [](int64_t c, Generator&) {
         return FunctionSpec{{conv(c, c), batch_norm(c), plus(kFunctionInput), conv(c, c), plus(2), plus(0)}};
       },
       false,
       {LayerKind::add}},
      // With few values: a kink between two differences would disturb them.
      {"rectify",
       [](int64_t c, Generator&) {
         return FunctionSpec{{linear(c, c), rectified(kFunctionInput)}};
       },
       true,
       {LayerKind::rectify}},
      {"rectify of layers",
       [](int64_t c, Generator&) {
         return FunctionSpec{{linear(c, c), activation(LayerKind::tanh), linear(c, c), rectified(0), rectified(1)}};
       },
       true,
       {LayerKind::rectify}},
      {"stem",
       [](int64_t c, Generator&) {
         return FunctionSpec{{strided(conv(c, 5, 7), 2), batch_norm(5), activation(LayerKind::tanh),
                              window(LayerKind::max_pool2d, 3, 2, 1)}};
       },
       false,
       {},
       true},
      {"first block",
       [](int64_t c, Generator& g) { return first_block(c, pick(g, 2, 4), LayerKind::tanh); },
       false,
       {},
       true,
       1e-7},
      {"first block of one shape",
       [](int64_t c, Generator&) {
         const LayerSpec tanh = activation(LayerKind::tanh);
         return FunctionSpec{{tanh, conv(c, c), batch_norm(c), tanh, conv(c, c), batch_norm(c), plus(0), tanh}};
       },
       false,
       {},
       true},
      {"bottleneck",
       [](int64_t c, Generator& g) { return bottleneck(c, pick(g, 2, 4), LayerKind::gelu); },
       false,
       {},
       false,
       1e-7},
      {"residual function", [](int64_t c, Generator&) { return tiny_function(c); }, false, {}},
  };
  return table;
}

class LayerRows : public testing::TestWithParam<size_t> {};

TEST_P(LayerRows, VjpIsTheDerivative) {
  const Row& row = rows()[GetParam()];
  for (uint64_t seed = 0; seed < 8; ++seed) {
    for (const bool training : {true, false}) {
      SCOPED_TRACE(std::string(row.name) + ", seed " + std::to_string(seed) +
                   (training ? ", training" : ", evaluation"));
      Generator generator(seed);
      const int64_t channels = pick(generator, 1, 7), batch = pick(generator, 2, 4);
      const Shape shape =
          row.flat ? Shape{batch, channels} : Shape{batch, channels, pick(generator, 5, 9), pick(generator, 5, 9)};
      const FunctionSpec function = row.function(channels, generator);
      const Problem problem = row.alone ? make_problem_alone(function, shape, seed + 100, training)
                                        : make_problem({function}, 1, shape, seed + 100, training);
      StageOptions options;
      options.residual = !row.alone;
      options.reconstruction = ReconstructionKind::backprop;
      const Outcome stored = run(problem, options);
      expect_finite_differences(problem, options, stored, generator, row.bound);
      // Evaluated again, of all images at once and of one after the other.
      options.reconstruction = ReconstructionKind::checkpoint;
      for (const int64_t bytes : {int64_t{0}, int64_t{1}, int64_t{4000}}) {
        SCOPED_TRACE("tape_bytes " + std::to_string(bytes));
        options.tape_bytes = bytes;
        const Outcome again = run(problem, options);
        // Longest sum: a weight gradient over batch and image, k = 4 * 81 of 5 layers, k u = 2e-13, times at most 10.
        const double bound = 2e-12;
        EXPECT_LT(relative_error(values(again.input_gradient), values(stored.input_gradient)), bound);
        if (stored.gradients.empty()) continue;
        EXPECT_LT(relative_error(values(again.gradients), values(stored.gradients)), bound);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, LayerRows, testing::Range(size_t{0}, rows().size()));

// Kinds are numbered from 0 without gaps; make_layer's switch, and with it the table of makers, has them all.
TEST(Layers, EveryKindHasARow) {
  for (int kind = 0; find_maker(static_cast<LayerKind>(kind)).make != nullptr; ++kind) {
    bool found = false;
    for (const Row& row : rows()) {
      for (const LayerKind covered : row.covers) found = found || static_cast<int>(covered) == kind;
    }
    EXPECT_TRUE(found) << "no row covers " << find_maker(static_cast<LayerKind>(kind)).name;
  }
}

// Convolutions go over output channels in slices where the weight is larger than x: on the CPU, whose oneDNN lays
// weights out anew. On a GPU the same convolutions go whole.
TEST(Layers, LargeWeightsAreDifferentiatedInSlices) {
  const FunctionSpec function{{conv(256, 256), activation(LayerKind::tanh), strided(conv(256, 520, 3, 1, 1), 2),
                               conv(520, 260, 1, 1, 1, false), conv(260, 1100, 1)}};
  const Problem problem = make_problem_alone(function, {2, 256, 4, 4}, 9);
  ASSERT_EQ(is_sliced(problem.x, problem.parameters[0], function.layers[0]), on_cpu());
  StageOptions options;
  options.residual = false;
  options.reconstruction = ReconstructionKind::checkpoint;
  Generator generator(10);
  expect_finite_differences(problem, options, run(problem, options), generator, 1e-8);
  // Added to what is there.
  const Stage stage(problem.functions, 1, options);
  const Outcome alone = pass(stage, problem);
  const auto context = stage.forward(problem.x, problem.parameters, {}, {});
  std::vector<Tensor> into;
  for (const Tensor& gradient : alone.gradients) into.push_back(torch::stable::clone(gradient));
  stage.backward(*context, problem.grad, std::vector<int32_t>(into.size(), 1), into);
  for (size_t i = 0; i < into.size(); ++i) {
    EXPECT_LT(relative_error(values(into[i]), values(plus_scaled(alone.gradients[i], alone.gradients[i], 1.0))), 1e-13);
  }
}

// A stem of images has no use for their gradient.
TEST(Layers, InputsThatWantNoGradientGetNone) {
  const Problem problem = make_problem_alone(first_block(3, 4), {4, 3, 8, 8}, 11);
  for (const ReconstructionKind kind : {ReconstructionKind::checkpoint, ReconstructionKind::backprop}) {
    for (const int64_t bytes : {int64_t{0}, int64_t{1}}) {
      StageOptions options;
      options.residual = false;
      options.reconstruction = kind;
      options.tape_bytes = bytes;
      const Stage stage(problem.functions, 1, options);
      const Outcome expected = pass(stage, problem);
      const auto context = stage.forward(problem.x, problem.parameters, copies(problem.buffers), problem.training);
      stage.backward(*context, problem.grad, std::vector<int32_t>(problem.parameters.size(), 1), {}, false);
      EXPECT_FALSE(context->input_gradient().defined());
      EXPECT_LT(relative_error(values(context->parameter_gradients()), values(expected.gradients)), 1e-13);
    }
  }
}

TEST(Layers, FrozenParametersGetNoGradientInParts) {
  const Problem problem = make_problem({bottleneck(8, 4)}, 3, {4, 8, 6, 6}, 12);
  StageOptions options;
  options.reconstruction = ReconstructionKind::checkpoint;
  const Outcome expected = run(problem, options);
  options.tape_bytes = 1;
  const Stage stage(problem.functions, problem.depth, options);
  const auto context = stage.forward(problem.x, problem.parameters, copies(problem.buffers), problem.training);
  std::vector<int32_t> wanted;
  for (size_t i = 0; i < problem.parameters.size(); ++i) wanted.push_back(i % 2 == 0 ? 1 : 0);
  stage.backward(*context, problem.grad, wanted, {});
  const std::vector<Tensor> found = context->parameter_gradients();
  EXPECT_LT(relative_error(values(context->input_gradient()), values(expected.input_gradient)), 1e-12);
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].defined(), wanted[i] != 0);
    if (wanted[i] == 0) continue;
    EXPECT_LT(relative_error(values(found[i]), values(expected.gradients[i])), 1e-11);
  }
}

TEST(Layers, JoinsThatCanNotBeAreRefused) {
  const auto build = [](FunctionSpec function) {
    StageOptions options;
    options.residual = false;
    options.reconstruction = ReconstructionKind::checkpoint;
    Stage({std::move(function)}, 1, options);
  };
  expect_error([&] { build({{from(0, conv(3, 3))}}); }, "function 0, layer 0: input is 0");
  expect_error([&] { build({{conv(3, 3), plus(1)}}); }, "function 0, layer 1: other is 1");
  expect_error([&] { build({{conv(3, 3), from(kFunctionInput, conv(3, 3))}}); }, "layer 0: no layer reads its output");
  expect_error([&] { build({{window(LayerKind::max_pool2d, 3, 1, 2)}}); }, "padding is 2x2");
  expect_error([&] { build({{window(LayerKind::avg_pool2d, 3, 0)}}); }, "stride_height is 0");
  const Problem problem = make_problem({{{conv(3, 3)}}}, 1, {2, 3, 2, 2}, 1);
  StageOptions options;
  options.residual = false;
  options.reconstruction = ReconstructionKind::checkpoint;
  const Stage pool({{{window(LayerKind::max_pool2d, 3, 1)}}}, 1, options);
  expect_error([&] { pool.evaluate(problem.x, {}, {}, {}); }, "smaller than the window");
  options.reconstruction = ReconstructionKind::adaptive;
  expect_error([&] { Stage({{{conv(3, 3)}}}, 1, options); }, "can't be found from its output");
  options.reconstruction = ReconstructionKind::checkpoint;
  expect_error([&] { Stage({{{conv(3, 3)}}}, 2, options); }, "expected 1: a function alone");
}

// Tapes in bfloat16, by operators.
TEST(Layers, PartsAgreeWithTheWholeInMixedPrecision) {
  Problem problem = make_problem({bottleneck(16, 8)}, 2, {4, 16, 6, 6}, 13);
  problem.x = torch::stable::to(problem.x, ScalarType::Float);
  problem.grad = torch::stable::to(problem.grad, ScalarType::Float);
  for (Tensor& tensor : problem.parameters) tensor = torch::stable::to(tensor, ScalarType::Float);
  for (Tensor& tensor : problem.buffers) tensor = torch::stable::to(tensor, ScalarType::Float);
  StageOptions options;
  options.reconstruction = ReconstructionKind::checkpoint;
  options.compute_type = ComputeType::bfloat16;
  const Outcome whole = run(problem, options);
  options.tape_bytes = 1;
  const Outcome parts = run(problem, options);
  // sqrt(k) u with k = 8 * 9 and u = 4e-3, and as much again for sums of parts that are rounded first.
  EXPECT_LT(relative_error(values(parts.input_gradient), values(whole.input_gradient)), 2 * 9 * 4e-3);
  EXPECT_LT(relative_error(values(parts.gradients), values(whole.gradients)), 2 * 9 * 4e-3);
}

TEST(Layers, Float32AgreesWithFloat64) {
  const Problem exact = make_problem({tiny_function(8)}, 4, {6, 8, 9, 9}, 3);
  StageOptions options;
  options.reconstruction = ReconstructionKind::backprop;
  Problem single = exact;
  single.x = torch::stable::to(exact.x, ScalarType::Float);
  single.grad = torch::stable::to(exact.grad, ScalarType::Float);
  for (Tensor& tensor : single.parameters) tensor = torch::stable::to(tensor, ScalarType::Float);
  for (Tensor& tensor : single.buffers) tensor = torch::stable::to(tensor, ScalarType::Float);
  const Outcome expected = run(exact, options), found = run(single, options);
  // Longest sum: a weight gradient over batch and image, k = 6 * 81; N = 4; sqrt(k) N u = 22 * 4 * 6e-8, times at
  // most 10.
  const double bound = 10 * 22 * 4 * 6e-8;
  EXPECT_LT(relative_error(values(found.output), values(expected.output)), bound);
  EXPECT_LT(relative_error(values(found.input_gradient), values(expected.input_gradient)), bound);
  EXPECT_LT(relative_error(values(found.gradients), values(expected.gradients)), bound);
}

TEST(Layers, Bfloat16AgreesWithFloat64) {
  const FunctionSpec dense{{linear(16, 16), activation(LayerKind::tanh), linear(16, 16)}};
  const FunctionSpec images{{conv(4, 4), batch_norm(4), activation(LayerKind::gelu), conv(4, 4)}};
  for (const Problem& exact : {make_problem({dense}, 4, {8, 16}, 3), make_problem({images}, 4, {8, 4, 6, 6}, 3)}) {
    for (const ReconstructionKind kind : {ReconstructionKind::backprop, ReconstructionKind::adaptive}) {
      StageOptions options;
      options.reconstruction = kind;
      Problem half = exact;
      half.x = torch::stable::to(exact.x, ScalarType::BFloat16);
      half.grad = torch::stable::to(exact.grad, ScalarType::BFloat16);
      for (Tensor& tensor : half.parameters) tensor = torch::stable::to(tensor, ScalarType::BFloat16);
      for (Tensor& tensor : half.buffers) tensor = torch::stable::to(tensor, ScalarType::BFloat16);
      const Outcome expected = run(exact, options), found = run(half, options);
      // sqrt(k) N u with k = 16 to 36, N = 4, u = 4e-3.
      EXPECT_LT(relative_error(values(found.output), values(expected.output)), 6 * 4 * 4e-3);
      EXPECT_LT(relative_error(values(found.input_gradient), values(expected.input_gradient)), 6 * 4 * 4e-3);
    }
  }
}

}  // namespace
}  // namespace resnet_nodes
