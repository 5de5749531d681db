// stage_bench.cpp: a training step of a stage, by reconstruction and path, beside stock backprop: the same layers by
// LibTorch's operators on contiguous tensors, every activation stored, as an autograd engine runs them. Compare rows of
// one run, taken with
//   --benchmark_enable_random_interleaving=true --benchmark_repetitions=7 --benchmark_report_aggregates_only=true
#include <benchmark/benchmark.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/ops.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "resnet_nodes/stage.h"
#include "tensors/dispatcher.h"
#include "tensors/layout.h"
#include "tensors/operators.h"
#include "tensors/relu.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

// pixels 0: rows of so many channels, and Linear - tanh - Linear with kHidden between, one function for all steps.
struct Size {
  int64_t channels, pixels, depth;
  bool is_linear() const { return pixels == 0; }
};
constexpr Size kSizes[] = {{16, 10, 64}, {64, 8, 16}, {500, 0, 32}};
constexpr int64_t kBatch = 128, kRows = 500, kHidden = 8;

Tensor normal(const std::vector<int64_t>& sizes, std::mt19937& generator, double scale) {
  Tensor tensor = torch::stable::empty(sizes, ScalarType::Float);
  std::normal_distribution<float> distribution(0, static_cast<float>(scale));
  auto* data = static_cast<float*>(tensor.mutable_data_ptr());
  for (int64_t i = 0; i < tensor.numel(); ++i) data[i] = distribution(generator);
  return tensor;
}

FunctionSpec tiny_function(int64_t channels) {
  LayerSpec conv, norm, relu;
  conv.kind = LayerKind::conv2d;
  conv.in_features = conv.out_features = channels;
  conv.kernel_height = conv.kernel_width = 3;
  conv.padding_height = conv.padding_width = 1;
  norm.kind = LayerKind::batch_norm2d;
  norm.in_features = channels;
  relu.kind = LayerKind::relu;
  return {{conv, norm, relu, conv, norm}};
}

FunctionSpec linear_function(int64_t width) {
  LayerSpec in, tanh, out;
  in.kind = out.kind = LayerKind::linear;
  in.in_features = out.out_features = width;
  in.out_features = out.in_features = kHidden;
  tanh.kind = LayerKind::tanh;
  return {{in, tanh, out}};
}

struct Problem {
  Size size;
  FunctionSpec function;
  std::vector<Tensor> parameters, buffers, gradients;
  Tensor x, grad;

  // `zero`: the last normalization's weights are 0, as networks often start.
  Problem(const Size& size_in, bool zero) : size(size_in) {
    std::mt19937 generator(1);
    if (size.is_linear()) {
      linear(generator);
    } else {
      tiny(zero, generator);
    }
    for (const Tensor& parameter : parameters) {
      gradients.push_back(torch::stable::empty_like(parameter));
      torch::stable::zero_(gradients.back());
    }
  }

  void linear(std::mt19937& generator) {
    const int64_t d = size.channels;
    function = linear_function(d);
    parameters.push_back(normal({kHidden, d}, generator, 1 / std::sqrt(static_cast<double>(d))));
    parameters.push_back(normal({kHidden}, generator, 0.1));
    parameters.push_back(normal({d, kHidden}, generator, 1 / std::sqrt(static_cast<double>(kHidden))));
    parameters.push_back(normal({d}, generator, 0.1));
    x = normal({kRows, d}, generator, 1);
    grad = normal({kRows, d}, generator, 1);
  }

  void tiny(bool zero, std::mt19937& generator) {
    const int64_t c = size.channels;
    function = tiny_function(c);
    const double scale = 1 / std::sqrt(9.0 * static_cast<double>(c));
    for (int64_t n = 0; n < size.depth; ++n) {
      for (int half = 0; half < 2; ++half) {
        parameters.push_back(normal({c, c, 3, 3}, generator, scale));
        parameters.push_back(normal({c}, generator, scale));
        parameters.push_back(torch::stable::full({c}, zero && half == 1 ? 0.0 : 1.0, ScalarType::Float));
        parameters.push_back(torch::stable::full({c}, 0.0, ScalarType::Float));
        buffers.push_back(torch::stable::full({c}, 0.0, ScalarType::Float));
        buffers.push_back(torch::stable::full({c}, 1.0, ScalarType::Float));
      }
    }
    x = normal({kBatch, c, size.pixels, size.pixels}, generator, 1);
    grad = normal({kBatch, c, size.pixels, size.pixels}, generator, 1);
  }

  std::vector<FunctionSpec> functions() const {
    return std::vector<FunctionSpec>(size.is_linear() ? 1 : static_cast<size_t>(size.depth), function);
  }
  void add(size_t index, const Tensor& gradient) { gradients[index] = plus_scaled(gradients[index], gradient, 1.0); }
};

void per_layer(benchmark::State& state, const Size& size) {
  state.counters["ms_per_layer"] =
      benchmark::Counter(static_cast<double>(size.depth) * 1e-3,
                         benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void stock_linear(benchmark::State& state, const Size& size) {
  Problem p(size, false);
  const double h = 1.0 / static_cast<double>(size.depth);
  const GradientMask all{true, true, true};
  const NoGradient guard;
  for (auto _ : state) {
    struct Kept {
      Tensor x, a;
    };
    std::vector<Kept> tape;
    Tensor x = p.x;
    for (int64_t n = 0; n < size.depth; ++n) {
      const Kept k{x, call_operator<1>("aten::tanh", "", linear(x, p.parameters[0], p.parameters[1]))[0]};
      x = plus_scaled(x, linear(k.a, p.parameters[2], p.parameters[3]), h);
      tape.push_back(k);
    }
    Tensor g = p.grad;
    for (int64_t n = size.depth; n-- > 0;) {
      const Kept& k = tape.back();
      const GradientTriple out = linear_backward(scaled(g, h), k.a, p.parameters[2], all);
      const GradientTriple in =
          linear_backward(call_operator<1>("aten::tanh_backward", "", out[0], k.a)[0], k.x, p.parameters[0], all);
      p.add(0, in[1]), p.add(1, in[2]), p.add(2, out[1]), p.add(3, out[2]);
      g = plus_scaled(g, in[0], 1.0);
      tape.pop_back();
    }
    benchmark::DoNotOptimize(g.const_data_ptr());
  }
  per_layer(state, size);
}

void stock(benchmark::State& state, const Size& size) {
  Problem p(size, false);
  const double h = 1.0 / static_cast<double>(size.depth);
  const LayerSpec& conv = p.function.layers[0];
  const GradientMask all{true, true, true};
  const NoGradient guard;
  for (auto _ : state) {
    struct Kept {
      Tensor x, u, mean1, deviation1, a, v, mean2, deviation2;
    };
    std::vector<Kept> tape;
    Tensor x = p.x;
    for (int64_t n = 0; n < size.depth; ++n) {
      const Tensor* w = &p.parameters[static_cast<size_t>(n) * 8];
      const Tensor* r = &p.buffers[static_cast<size_t>(n) * 4];
      Kept k;
      k.x = x;
      k.u = convolution(x, w[0], w[1], conv);
      const GradientTriple first = batch_norm(k.u, w[2], w[3], r[0], r[1], true, 0.1, 1e-5);
      k.mean1 = first[1], k.deviation1 = first[2];
      k.a = relu(first[0]);
      k.v = convolution(k.a, w[4], w[5], conv);
      const GradientTriple second = batch_norm(k.v, w[6], w[7], r[2], r[3], true, 0.1, 1e-5);
      k.mean2 = second[1], k.deviation2 = second[2];
      x = plus_scaled(x, second[0], h);
      tape.push_back(k);
    }
    Tensor g = p.grad;
    for (int64_t n = size.depth; n-- > 0;) {
      const size_t at = static_cast<size_t>(n) * 8;
      const Tensor* w = &p.parameters[at];
      const Tensor* r = &p.buffers[static_cast<size_t>(n) * 4];
      Kept& k = tape.back();
      const GradientTriple norm2 =
          batch_norm_backward(scaled(g, h), k.v, w[6], r[2], r[3], k.mean2, k.deviation2, true, 1e-5, all);
      const GradientTriple conv2 = convolution_backward(norm2[0], k.a, w[4], conv, all);
      const GradientTriple norm1 = batch_norm_backward(relu_backward(conv2[0], k.a), k.u, w[2], r[0], r[1], k.mean1,
                                                       k.deviation1, true, 1e-5, all);
      const GradientTriple conv1 = convolution_backward(norm1[0], k.x, w[0], conv, all);
      p.add(at, conv1[1]), p.add(at + 1, conv1[2]), p.add(at + 2, norm1[1]), p.add(at + 3, norm1[2]);
      p.add(at + 4, conv2[1]), p.add(at + 5, conv2[2]), p.add(at + 6, norm2[1]), p.add(at + 7, norm2[2]);
      g = plus_scaled(g, conv1[0], 1.0);
      tape.pop_back();
    }
    benchmark::DoNotOptimize(g.const_data_ptr());
  }
  per_layer(state, size);
}

void step(benchmark::State& state, const Size& size, ReconstructionKind kind, bool fused, bool zero) {
  const Problem p(size, zero);
  StageOptions options;
  options.reconstruction = kind;
  setenv("RESNET_NODES_FUSED", fused ? "on" : "off", 1);
  const Stage stage(p.functions(), size.depth, options);
  const std::vector<int32_t> wanted(p.parameters.size(), 1), training(static_cast<size_t>(stage.norm_count()), 1);
  int64_t evaluations = 0;
  for (auto _ : state) {
    const auto context = stage.forward(p.x, p.parameters, p.buffers, training);
    stage.backward(*context, p.grad, wanted, p.gradients);
    evaluations = context->report().evaluations;
  }
  state.SetLabel(stage.function_path(0, p.x) + ", evaluations on the way back " +
                 std::to_string(static_cast<double>(evaluations) / static_cast<double>(size.depth)));
  per_layer(state, size);
}

void register_size(const Size& size) {
  const std::string suffix =
      (size.is_linear() ? "/linear" : "/C") + std::to_string(size.channels) + "/depth" + std::to_string(size.depth);
  const auto add = [](const std::string& name, const auto& body) {
    benchmark::RegisterBenchmark(name.c_str(), body)->Unit(benchmark::kMillisecond)->UseRealTime();
  };
  add("stock_backprop" + suffix, [=](benchmark::State& state) {
    if (size.is_linear()) {
      stock_linear(state, size);
    } else {
      stock(state, size);
    }
  });
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    for (const bool fused : {true, false}) {
      add(plan.name + (fused ? "/fused" : "/operators") + suffix,
          [=](benchmark::State& state) { step(state, size, plan.kind, fused, false); });
    }
  }
  if (size.is_linear()) return;
  add("adaptive_zero_weights/fused" + suffix,
      [=](benchmark::State& state) { step(state, size, ReconstructionKind::adaptive, true, true); });
}

}  // namespace
}  // namespace resnet_nodes

int main(int argc, char** argv) {
  for (const resnet_nodes::Size& size : resnet_nodes::kSizes) resnet_nodes::register_size(size);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
