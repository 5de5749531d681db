// pack.cuh: loops over dense memory in accesses of 16 bytes, whatever the alignment.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/cuda_kernels.h"

namespace resnet_nodes::cuda {

constexpr int kThreads = 256;
// Enough to fill any GPU of today; more elements are gone through in strides.
constexpr int64_t kMostBlocks = 4096;

/// The type that elements are computed in.
template <typename T>
struct Wide {
  using type = float;
};
template <>
struct Wide<double> {
  using type = double;
};
template <typename T>
using WideOf = typename Wide<T>::type;

__device__ inline float wide(float x) { return x; }
__device__ inline double wide(double x) { return x; }
__device__ inline float wide(__half x) { return __half2float(x); }
__device__ inline float wide(__nv_bfloat16 x) { return __bfloat162float(x); }

template <typename T>
__device__ inline T narrow(WideOf<T> x) {
  return x;
}
template <>
__device__ inline __half narrow<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ inline __nv_bfloat16 narrow<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

/// As many elements as one access of 16 bytes carries.
template <typename T>
struct alignas(16) Pack {
  static constexpr int kCount = 16 / sizeof(T);
  T element[kCount];
};

/// How `count` elements are gone through: `head` single ones up to a 16-byte boundary, packs, single ones at the end.
/// No packs where the pointers do not reach a boundary together.
struct Split {
  int64_t head = 0;
  int64_t packs = 0;
  int64_t count = 0;
};

template <typename T>
Split split(int64_t count, const void* first, const void* const* others, int other_count) {
  Split result;
  result.count = count;
  const auto offset = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16; };
  for (int i = 0; i < other_count; ++i) {
    if (offset(others[i]) != offset(first)) return result;
  }
  if (offset(first) % sizeof(T) != 0) return result;
  const auto head = static_cast<int64_t>((16 - offset(first)) % 16 / sizeof(T));
  result.head = head < count ? head : count;
  result.packs = (count - result.head) / Pack<T>::kCount;
  return result;
}

template <typename T, int kInputs>
struct Inputs {
  const T* at[kInputs];
};

/// Calls body(values of element i, i) for this thread's elements and stores what it returns where `out` is not null.
template <typename T, int kInputs, typename Body>
__device__ void for_elements(T* out, const Inputs<T, kInputs>& in, const Split& s, Body&& body) {
  using W = WideOf<T>;
  constexpr int kCount = Pack<T>::kCount;
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t p = thread; p < s.packs; p += threads) {
    const int64_t begin = s.head + p * kCount;
    Pack<T> packs[kInputs];
#pragma unroll
    for (int k = 0; k < kInputs; ++k) packs[k] = *reinterpret_cast<const Pack<T>*>(in.at[k] + begin);
    Pack<T> result;
#pragma unroll
    for (int j = 0; j < kCount; ++j) {
      W values[kInputs];
#pragma unroll
      for (int k = 0; k < kInputs; ++k) values[k] = wide(packs[k].element[j]);
      result.element[j] = body(values, begin + j);
    }
    if (out != nullptr) *reinterpret_cast<Pack<T>*>(out + begin) = result;
  }
  const int64_t singles = s.count - s.packs * kCount;
  for (int64_t p = thread; p < singles; p += threads) {
    const int64_t i = p < s.head ? p : p + s.packs * kCount;
    W values[kInputs];
#pragma unroll
    for (int k = 0; k < kInputs; ++k) values[k] = wide(in.at[k][i]);
    const T result = body(values, i);
    if (out != nullptr) out[i] = result;
  }
}

template <typename T>
unsigned blocks_for(const Split& s) {
  const int64_t singles = s.count - s.packs * Pack<T>::kCount;
  const int64_t work = s.packs > singles ? s.packs : singles;
  const int64_t blocks = (work + kThreads - 1) / kThreads;
  return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

inline const char* launch_error() {
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

/// Calls body(T()) for the type.
template <typename Body>
const char* with_type(ElementType type, const Body& body) {
  switch (type) {
    case ElementType::float32:
      return body(float());
    case ElementType::float64:
      return body(double());
    case ElementType::bfloat16:
      return body(__nv_bfloat16());
    case ElementType::float16:
      return body(__half());
  }
  return "the element type is unknown";
}

}  // namespace resnet_nodes::cuda
