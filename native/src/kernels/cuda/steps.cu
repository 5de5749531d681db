// steps.cu: the fused steps on the GPU.
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/table.cuh"

namespace resnet_nodes::cuda {
namespace {

// Blocks of a sum, whatever the device and the count: which elements a thread adds, and in which order, is then fixed.
constexpr int kSumBlocks = 512;

template <typename T, int kInputs, typename Op>
__global__ void __launch_bounds__(kThreads) elementwise(T* out, Inputs<T, kInputs> in, Split s, Op op) {
  for_elements<T, kInputs>(out, in, s, [&](const auto& values, int64_t) { return narrow<T>(op(values)); });
}

template <typename T, int kInputs, typename Op>
const char* map(void* out, const void* const (&in)[kInputs], int64_t count, const Op& op, void* stream) {
  if (count == 0) return nullptr;
  const Split s = split<T>(count, out, in, kInputs);
  Inputs<T, kInputs> inputs;
  for (int k = 0; k < kInputs; ++k) inputs.at[k] = static_cast<const T*>(in[k]);
  elementwise<T, kInputs, Op>
      <<<blocks_for<T>(s), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(static_cast<T*>(out), inputs, s, op);
  return launch_error();
}

template <typename W>
struct AddScaled {
  W a;
  __device__ W operator()(const W (&v)[2]) const { return v[0] + a * v[1]; }
};

template <typename W>
struct AddScaledSum {
  W a;
  __device__ W operator()(const W (&v)[3]) const { return v[0] + a * (v[1] + v[2]); }
};

template <typename W, int kTerms>
struct Extrapolate {
  W a, c[kTerms];
  __device__ W operator()(const W (&v)[kTerms + 1]) const {
    W slope = c[0] * v[1];
#pragma unroll
    for (int k = 1; k < kTerms; ++k) slope += c[k] * v[k + 1];
    return v[0] - a * slope;
  }
};

template <typename W>
struct MaskByOutput {
  __device__ W operator()(const W (&v)[2]) const { return v[1] > W(0) ? v[0] : W(0); }
};

// --- Sums
// --------------------------------------------------------------------------------------------------------------

// Adds up over the block's threads in a fixed order; thread 0 has the sums.
__device__ void add_up(double (&sums)[kMeasuredNorms]) {
  __shared__ double of_warp[kThreads / 32][kMeasuredNorms];
#pragma unroll
  for (int k = 0; k < kMeasuredNorms; ++k) {
    for (int offset = 16; offset > 0; offset /= 2) sums[k] += __shfl_down_sync(0xffffffffU, sums[k], offset);
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32][k] = sums[k];
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
#pragma unroll
  for (int k = 0; k < kMeasuredNorms; ++k) {
    sums[k] = of_warp[0][k];
    for (int w = 1; w < kThreads / 32; ++w) sums[k] += of_warp[w][k];
  }
}

__device__ void leave(double* place, double (&sums)[kMeasuredNorms]) {
  add_up(sums);
  if (threadIdx.x != 0) return;
#pragma unroll
  for (int k = 0; k < kMeasuredNorms; ++k) place[k] = sums[k];
}

template <typename T, typename W>
__global__ void __launch_bounds__(kThreads) correct_kernel(T* out, Inputs<T, 3> in, Split s, W a, double* scratch) {
  double sums[kMeasuredNorms] = {};
  for_elements<T, 3>(out, in, s, [&](const auto& v, int64_t) {
    const W increment = a * v[1];
    const T found = narrow<T>(v[0] - increment);
    const double off = static_cast<double>(v[2]) - static_cast<double>(wide(found));
    const auto step = static_cast<double>(increment), state = static_cast<double>(wide(found));
    sums[kDifference] += off * off;
    sums[kReference] += step * step;
    sums[kState] += state * state;
    return found;
  });
  leave(scratch + static_cast<int64_t>(blockIdx.x) * kMeasuredNorms, sums);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) distance_kernel(Inputs<T, 2> in, Split s, double* scratch) {
  double sums[kMeasuredNorms] = {};
  for_elements<T, 2>(static_cast<T*>(nullptr), in, s, [&](const auto& v, int64_t) {
    const auto base = static_cast<double>(v[1]);
    const double off = static_cast<double>(v[0]) - base;
    sums[kDifference] += off * off;
    sums[kReference] += base * base;
    sums[kState] += base * base;
    return narrow<T>(v[0]);
  });
  leave(scratch + static_cast<int64_t>(blockIdx.x) * kMeasuredNorms, sums);
}

__global__ void __launch_bounds__(kThreads) sum_of_blocks(const double* scratch, double* norms) {
  double sums[kMeasuredNorms] = {};
  for (int block = static_cast<int>(threadIdx.x); block < kSumBlocks; block += kThreads) {
#pragma unroll
    for (int k = 0; k < kMeasuredNorms; ++k) sums[k] += scratch[block * kMeasuredNorms + k];
  }
  leave(norms, sums);
}

const char* finish_sum(double* norms, double* scratch, cudaStream_t stream) {
  if (const char* error = launch_error()) return error;
  sum_of_blocks<<<1, kThreads, 0, stream>>>(scratch, norms);
  return launch_error();
}

// --- The table's entries
// -----------------------------------------------------------------------------------------------

const char* add_scaled(ElementType type, void* out, const void* x, const void* f, double a, int64_t count,
                       void* stream) {
  return with_type(type, [&](auto zero) {
    using T = decltype(zero);
    using W = WideOf<T>;
    return map<T, 2>(out, {x, f}, count, AddScaled<W>{static_cast<W>(a)}, stream);
  });
}

const char* add_scaled_sum(ElementType type, void* out, const void* x, const void* f, const void* g, double a,
                           int64_t count, void* stream) {
  return with_type(type, [&](auto zero) {
    using T = decltype(zero);
    using W = WideOf<T>;
    return map<T, 3>(out, {x, f, g}, count, AddScaledSum<W>{static_cast<W>(a)}, stream);
  });
}

const char* extrapolate(ElementType type, void* out, const void* y, const void* const* f, const double* c,
                        int64_t terms, double a, int64_t count, void* stream) {
  return with_type(type, [&](auto zero) -> const char* {
    using T = decltype(zero);
    using W = WideOf<T>;
    const auto w = [](double value) { return static_cast<W>(value); };
    if (terms == 1) return map<T, 2>(out, {y, f[0]}, count, Extrapolate<W, 1>{w(a), {w(c[0])}}, stream);
    if (terms == 2) {
      return map<T, 3>(out, {y, f[0], f[1]}, count, Extrapolate<W, 2>{w(a), {w(c[0]), w(c[1])}}, stream);
    }
    return map<T, 4>(out, {y, f[0], f[1], f[2]}, count, Extrapolate<W, 3>{w(a), {w(c[0]), w(c[1]), w(c[2])}}, stream);
  });
}

const char* correct(ElementType type, void* out, const void* y, const void* f, const void* predicted, double a,
                    int64_t count, double* norms, double* scratch, void* stream) {
  return with_type(type, [&](auto zero) {
    using T = decltype(zero);
    using W = WideOf<T>;
    const void* in[] = {y, f, predicted};
    const Inputs<T, 3> inputs{static_cast<const T*>(y), static_cast<const T*>(f), static_cast<const T*>(predicted)};
    const auto on = static_cast<cudaStream_t>(stream);
    correct_kernel<T, W><<<kSumBlocks, kThreads, 0, on>>>(static_cast<T*>(out), inputs, split<T>(count, out, in, 3),
                                                          static_cast<W>(a), scratch);
    return finish_sum(norms, scratch, on);
  });
}

const char* distance(ElementType type, const void* x, const void* reference, int64_t count, double* norms,
                     double* scratch, void* stream) {
  return with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const Inputs<T, 2> inputs{static_cast<const T*>(x), static_cast<const T*>(reference)};
    const auto on = static_cast<cudaStream_t>(stream);
    distance_kernel<T><<<kSumBlocks, kThreads, 0, on>>>(inputs, split<T>(count, x, &reference, 1), scratch);
    return finish_sum(norms, scratch, on);
  });
}

const char* relu_backward(ElementType type, void* out, const void* grad, const void* output, int64_t count,
                          void* stream) {
  return with_type(type, [&](auto zero) {
    using T = decltype(zero);
    return map<T, 2>(out, {grad, output}, count, MaskByOutput<WideOf<T>>{}, stream);
  });
}

}  // namespace

const CudaKernels& table() {
  static const CudaKernels kernels{add_scaled,    add_scaled_sum, extrapolate,
                                   correct,       distance,       kSumBlocks * kMeasuredNorms,
                                   relu_backward, normalize};
  return kernels;
}

}  // namespace resnet_nodes::cuda

namespace resnet_nodes {

const CudaKernels* cuda_kernels() { return &cuda::table(); }

}  // namespace resnet_nodes
