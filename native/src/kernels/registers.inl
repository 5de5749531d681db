// registers.inl: how wide and how many a kernel path's registers are. Part of image.inl and linear.inl.

#if defined(__AVX512F__)
constexpr int64_t kWidest = 16, kRegisters = 32;
#elif defined(__AVX__)
constexpr int64_t kWidest = 8, kRegisters = 16;
#else
constexpr int64_t kWidest = 4, kRegisters = 16;
#endif

// Floats in one register, and the same in memory of any type, which need no more alignment than one float.
template <int64_t kWidth>
struct Register {
  typedef float Floats __attribute__((vector_size(kWidth * sizeof(float))));
  typedef float Unaligned __attribute__((vector_size(kWidth * sizeof(float)), aligned(sizeof(float)), may_alias));
};
