// kernels_bench.cpp: every fused step on every kernel path that this machine can run, by the number of elements, beside
// memcpy as the memory's own speed; the convolutions of a group of images; and the products of Linear functions.
// Compare rows of one run, taken with
//   --benchmark_enable_random_interleaving=true --benchmark_repetitions=5
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "fused/conv_plan.h"
#include "fused/memory.h"
#include "kernels/paths/kernel_path.h"

namespace resnet_nodes {
namespace {

// 16 Ki elements stay in the second-level cache, as the blocks of steps.cpp do; the others are a state of TinyResNet
// (128 x 16 x 10 x 10) and one that no cache holds.
constexpr int64_t kCounts[] = {16384, 204800, 8388608};
constexpr size_t kArrays = 4;

template <typename T>
struct Arrays {
  std::vector<T> out;
  std::vector<T> in[kArrays];

  explicit Arrays(int64_t count) : out(static_cast<size_t>(count)) {
    for (size_t k = 0; k < kArrays; ++k) {
      in[k].resize(out.size());
      for (size_t i = 0; i < out.size(); ++i) in[k][i] = static_cast<T>(static_cast<double>(i % 17 + k) / 16);
    }
  }
};

template <typename T, typename Step>
void measure(const std::string& name, int64_t streams, const Step& step) {
  for (const int64_t count : kCounts) {
    const std::string full = name + (std::is_same_v<T, float> ? "/float32/" : "/float64/") + std::to_string(count);
    benchmark::RegisterBenchmark(full.c_str(), [=](benchmark::State& state) {
      Arrays<T> arrays(count);
      for (auto _ : state) {
        step(arrays, count);
        benchmark::ClobberMemory();
      }
      state.SetItemsProcessed(state.iterations() * count);
      state.SetBytesProcessed(state.iterations() * count * streams * static_cast<int64_t>(sizeof(T)));
    });
  }
}

template <typename T>
void measure_path(const std::string& path, const StepKernels<T>& k) {
  measure<T>("add_scaled/" + path, 3, [k](Arrays<T>& m, int64_t count) {
    k.add_scaled(m.out.data(), m.in[0].data(), m.in[1].data(), -0.25, count);
  });
  measure<T>("add_scaled_sum/" + path, 4, [k](Arrays<T>& m, int64_t count) {
    k.add_scaled_sum(m.out.data(), m.in[0].data(), m.in[1].data(), m.in[2].data(), 0.25, count);
  });
  measure<T>("correct/" + path, 4, [k](Arrays<T>& m, int64_t count) {
    benchmark::DoNotOptimize(k.correct(m.out.data(), m.in[0].data(), m.in[1].data(), m.in[2].data(), 0.25, count));
  });
  for (int64_t terms = 1; terms <= 3; ++terms) {
    measure<T>("extrapolate:" + std::to_string(terms) + "/" + path, terms + 2, [k, terms](Arrays<T>& m, int64_t count) {
      const T* slopes[3] = {m.in[1].data(), m.in[2].data(), m.in[3].data()};
      const double c[3] = {3, -3, 1};
      k.extrapolate(m.out.data(), m.in[0].data(), slopes, c, terms, 0.25, count);
    });
  }
  measure<T>("distance/" + path, 2, [k](Arrays<T>& m, int64_t count) {
    benchmark::DoNotOptimize(k.distance(m.in[0].data(), m.in[1].data(), count));
  });
}

template <typename T>
void measure_copy() {
  measure<T>("memcpy/library", 2, [](Arrays<T>& m, int64_t count) {
    std::memcpy(m.out.data(), m.in[0].data(), static_cast<size_t>(count) * sizeof(T));
  });
}

void count_operations(benchmark::State& state, double operations) {
  state.counters["FLOP/s"] = benchmark::Counter(operations, benchmark::Counter::kIsIterationInvariantRate);
}

// The products of a block of rows, in floating point operations a second.
void measure_linear(const char* name, const MlpKernels& loops) {
  constexpr int64_t kRows = 48, kShapes[][2] = {{64, 16}, {500, 8}, {500, 64}, {2048, 32}};
  for (const auto& [width, hidden] : kShapes) {
    const MlpShape shape{width, hidden, hidden, (width + 15) / 16 * 16};
    const auto add = [&](const std::string& loop, const auto& body) {
      const std::string full = loop + "/" + name + "/" + std::to_string(width) + "x" + std::to_string(hidden);
      benchmark::RegisterBenchmark(full.c_str(), [=](benchmark::State& state) {
        FloatBuffer x, out, middle, weights;
        x.resize(kRows * shape.width), out.resize(kRows * shape.width);
        middle.resize(kRows * shape.columns), weights.resize(shape.columns * shape.pitch);
        for (auto _ : state) {
          body(out.data(), x.data(), middle.data(), weights.data());
          benchmark::ClobberMemory();
        }
        count_operations(state, 2.0 * static_cast<double>(kRows * shape.width * shape.hidden));
      });
    };
    add("dots", [=](float*, float* x, float* middle, float* weights) {
      loops.dots(middle, x, weights, nullptr, kRows, shape);
    });
    add("combine", [=](float* out, float* x, float* middle, float* weights) {
      loops.combine(out, x, middle, weights, nullptr, 0.25, kRows, shape);
    });
    add("outer", [=](float*, float* x, float* middle, float* weights) {
      loops.outer(weights, nullptr, middle, x, kRows, shape);
    });
  }
}

// The convolutions of a group of images and their weight gradient, in floating point operations a second.
template <typename Number, typename KernelsOf>
void measure_convolutions(const std::string& path, const KernelsOf& kernels_of) {
  struct Sizes {
    int64_t in, out, taps, pixels;
  };
  constexpr Sizes kSizes[] = {{8, 8, 9, 10},    {16, 16, 9, 10},  {16, 16, 9, 28},   {24, 24, 9, 10},  {32, 32, 9, 10},
                              {64, 64, 9, 8},   {128, 128, 9, 8}, {256, 256, 9, 14}, {512, 512, 9, 4}, {64, 64, 9, 16},
                              {256, 64, 1, 14}, {64, 256, 1, 14}, {1024, 256, 1, 4}, {256, 1024, 1, 4}};
  for (const Sizes& sizes : kSizes) {
    const ConvPlan plan({false, {{sizes.in, sizes.out, sizes.taps}}}, 128, sizes.pixels, sizes.pixels, kDepth<Number>);
    const ConvKernels<Number>* const kernels = kernels_of(plan.lanes());
    if (kernels == nullptr) continue;
    const ConvPass pass = plan.pass(0, plan.group_images());
    const int64_t pixels = plan.group_images() * plan.image_pixels();
    // A weight gradient of a group's tiles, transformed before.
    const TileCounts tiles = plan.tiles_of(0, plan.group_images());
    const bool winograd = plan.is_winograd(0);
    const SumShape shape{tiles,
                         plan.positions(0),
                         sizes.in,
                         sizes.out,
                         plan.packed_position(0),
                         winograd ? plan.tile_shape(sizes.in, tiles.of[0][0]) : TileShape{0, pass.in.block},
                         winograd ? plan.tile_shape(sizes.out, tiles.of[0][0]) : TileShape{0, pass.out.block}};
    const auto add = [&](const std::string& loop, const auto& body) {
      const std::string full = loop + "/" + path + "/" + std::to_string(sizes.in) + "-" + std::to_string(sizes.out) +
                               "/" + std::to_string(sizes.taps) + "/" + std::to_string(sizes.pixels);
      benchmark::RegisterBenchmark(full.c_str(), [=](benchmark::State& state) {
        FloatBuffer input, gradient, weights, dense, scratch;
        input.resize(std::max(plan.blocked_size(0), shape.positions * shape.inputs.position));
        gradient.resize(std::max(plan.blocked_size(0), shape.positions * shape.gradients.position));
        weights.resize(plan.packed_size(0)), dense.resize(pixels * sizes.out), scratch.resize(plan.scratch_size(0));
        for (auto _ : state) {
          body(input.data<Number>(), gradient.data<Number>(), weights, dense.data(), scratch.data());
          benchmark::ClobberMemory();
        }
        count_operations(state, 2.0 * static_cast<double>(pixels * sizes.in * sizes.out * sizes.taps));
      });
    };
    add("convolve", [=](Number* input, Number*, const FloatBuffer& weights, float* dense, float* scratch) {
      kernels->convolve_back(dense, input, weights.data<Number>(), nullptr, scratch, pass);
    });
    add("sum_products", [=](Number* input, Number* gradient, const FloatBuffer& weights, float*, float*) {
      kernels->sum_products(weights.data(), input, gradient, true, shape);
    });
  }
}

}  // namespace
}  // namespace resnet_nodes

int main(int argc, char** argv) {
  using namespace resnet_nodes;
  measure_copy<float>();
  measure_copy<double>();
  for (const KernelPath* path : runnable_kernel_paths()) {
    measure_path<float>(path->name, path->float32);
    measure_path<double>(path->name, path->float64);
    measure_convolutions<float>(path->name, [&](int64_t lanes) { return lanes == 16 ? &path->conv16 : &path->conv8; });
    measure_convolutions<BFloat16>(std::string(path->name) + "-bfloat16",
                                   [&](int64_t lanes) { return lanes == 16 ? path->conv16_bfloat16 : nullptr; });
    measure_linear(path->name, path->mlp);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
