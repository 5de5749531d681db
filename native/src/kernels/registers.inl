// registers.inl: vectors of one register. Part of conv.inl and mlp.inl.

// Floats in one register, and the same in memory of any type, which need no more alignment than one float.
template <int64_t kWidth>
struct Register {
  typedef float Floats __attribute__((vector_size(kWidth * sizeof(float))));
  typedef float Unaligned __attribute__((vector_size(kWidth * sizeof(float)), aligned(sizeof(float)), may_alias));
};
