// normalize.cu: batch normalization with known statistics, and the ReLU behind it, in one pass.
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/table.cuh"

namespace resnet_nodes::cuda {
namespace {

// `A`: the type of weight and bias, that of x or the wider one of the statistics.
template <typename T, typename A>
struct Affine {
  const WideOf<T>* mean;
  const WideOf<T>* inverse_deviation;
  const A* weight;
  const A* bias;
  int64_t channels;
  int64_t inner;
  bool relu;
};

// Divisions of 64 bits cost some forty instructions each.
__device__ inline int64_t channel(int64_t i, int64_t inner, int64_t channels) {
  constexpr int64_t kNarrow = 0xffffffff;
  if (i > kNarrow || inner > kNarrow || channels > kNarrow) return i / inner % channels;
  return static_cast<uint32_t>(i) / static_cast<uint32_t>(inner) % static_cast<uint32_t>(channels);
}

template <typename T, typename A>
__global__ void __launch_bounds__(kThreads) normalize_kernel(T* out, Inputs<T, 1> in, Split s, Affine<T, A> affine) {
  using W = WideOf<T>;
  for_elements<T, 1>(out, in, s, [&](const auto& v, int64_t i) {
    const int64_t c = channel(i, affine.inner, affine.channels);
    const W gamma = affine.weight != nullptr ? wide(affine.weight[c]) : W(1);
    const W beta = affine.bias != nullptr ? wide(affine.bias[c]) : W(0);
    const W value = (v[0] - affine.mean[c]) * affine.inverse_deviation[c] * gamma + beta;
    // Not a number stays what it is.
    return narrow<T>(affine.relu && value <= W(0) ? W(0) : value);
  });
}

}  // namespace

const char* normalize(ElementType type, void* out, const void* x, const void* mean, const void* inverse_deviation,
                      const void* weight, const void* bias, bool wide_affine, bool relu, int64_t channels,
                      int64_t inner, int64_t count, void* stream) {
  if (count == 0) return nullptr;
  return with_type(type, [&](auto zero) {
    using T = decltype(zero);
    using W = WideOf<T>;
    const auto run = [&](auto affine_zero) {
      using A = decltype(affine_zero);
      const Affine<T, A> affine{static_cast<const W*>(mean),
                                static_cast<const W*>(inverse_deviation),
                                static_cast<const A*>(weight),
                                static_cast<const A*>(bias),
                                channels,
                                inner,
                                relu};
      const Split s = split<T>(count, out, &x, 1);
      normalize_kernel<T, A><<<blocks_for<T>(s), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
          static_cast<T*>(out), Inputs<T, 1>{static_cast<const T*>(x)}, s, affine);
      return launch_error();
    };
    return wide_affine ? run(W()) : run(T());
  });
}

}  // namespace resnet_nodes::cuda
