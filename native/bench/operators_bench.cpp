// operators_bench.cpp: LibTorch's single operators, as layers without a fused path call them: what a path of our own
// has to beat. Convolutions and normalizations in both layouts; compare rows of one run.
#include <benchmark/benchmark.h>
#include <torch/csrc/stable/ops.h>

#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tensors/dispatcher.h"
#include "tensors/layout.h"
#include "tensors/operators.h"
#include "tensors/relu.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

constexpr int64_t kBatch = 128;

Tensor normal(const std::vector<int64_t>& sizes) {
  static std::mt19937 generator(1);
  std::normal_distribution<float> distribution;
  Tensor tensor = torch::stable::empty(sizes, ScalarType::Float);
  auto* data = static_cast<float*>(tensor.mutable_data_ptr());
  for (int64_t i = 0; i < tensor.numel(); ++i) data[i] = distribution(generator);
  return tensor;
}

// `operations`: multiplications and additions of a call; 0 where passes over memory are what it costs.
void add(const std::string& name, double operations, const std::function<void()>& call) {
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
    const NoGradient guard;
    for (auto _ : state) call();
    if (operations > 0) {
      state.counters["FLOP/s"] =
          benchmark::Counter(operations, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
    }
  })->UseRealTime();
}

void measure_images(int64_t channels, int64_t pixels, bool channels_last) {
  const auto laid_out = [&](const Tensor& images) { return channels_last ? state_layout(images) : images; };
  const std::string end = std::string(channels_last ? "/channels_last" : "/contiguous") + "/C" +
                          std::to_string(channels) + "/" + std::to_string(pixels);
  LayerSpec shape;
  shape.kind = LayerKind::conv2d;
  shape.in_features = shape.out_features = channels;
  shape.kernel_height = shape.kernel_width = 3;
  shape.padding_height = shape.padding_width = 1;
  const double operations = 18.0 * static_cast<double>(kBatch * pixels * pixels * channels * channels);
  const Tensor x = laid_out(normal({kBatch, channels, pixels, pixels})),
               grad = laid_out(normal({kBatch, channels, pixels, pixels}));
  const Tensor kernel = normal({channels, channels, 3, 3}), weight = normal({channels}), bias = normal({channels});
  add("convolution" + end, operations, [=] { benchmark::DoNotOptimize(convolution(x, kernel, bias, shape)); });
  add("convolution_backward" + end, 2 * operations, [=] {
    benchmark::DoNotOptimize(convolution_backward(grad, x, kernel, shape, {true, true, true}));
  });
  add("batch_norm" + end, 0,
      [=] { benchmark::DoNotOptimize(batch_norm(x, weight, bias, Tensor(), Tensor(), true, 0.1, 1e-5)); });
  const GradientTriple found = batch_norm(x, weight, bias, Tensor(), Tensor(), true, 0.1, 1e-5);
  add("batch_norm_backward" + end, 0, [=] {
    benchmark::DoNotOptimize(
        batch_norm_backward(grad, x, weight, Tensor(), Tensor(), found[1], found[2], true, 1e-5, {true, true, true}));
  });
  add("relu" + end, 0, [=] { benchmark::DoNotOptimize(relu(x)); });
  add("relu_backward" + end, 0, [=] { benchmark::DoNotOptimize(relu_backward(grad, x)); });
}

void measure_rows(int64_t rows, int64_t in, int64_t out) {
  const std::string end =
      std::string("/") + std::to_string(rows) + "/" + std::to_string(in) + "x" + std::to_string(out);
  const Tensor x = normal({rows, in}), weight = normal({out, in}), bias = normal({out}), grad = normal({rows, out});
  const double operations = 2.0 * static_cast<double>(rows * in * out);
  add("linear" + end, operations, [=] { benchmark::DoNotOptimize(linear(x, weight, bias)); });
  add("linear_backward" + end, 2 * operations, [=] {
    benchmark::DoNotOptimize(linear_backward(grad, x, weight, {true, true, true}));
  });
  add("tanh" + end, 0, [=] { benchmark::DoNotOptimize(call_operator<1>("aten::tanh", "", grad)[0]); });
  add("tanh_backward" + end, 0,
      [=] { benchmark::DoNotOptimize(call_operator<1>("aten::tanh_backward", "", grad, grad)[0]); });
}

}  // namespace
}  // namespace resnet_nodes

int main(int argc, char** argv) {
  const resnet_nodes::NoGradient guard;
  for (const bool channels_last : {false, true}) {
    resnet_nodes::measure_images(16, 10, channels_last);
    resnet_nodes::measure_images(64, 8, channels_last);
  }
  resnet_nodes::measure_rows(500, 500, 8);
  resnet_nodes::measure_rows(500, 8, 500);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
