// numbers_bfloat16.inl: bfloat16 as the loops read, write and multiply it, by the instructions of AVX512-BF16: two
// numbers to a lane at a time, summed up in float32. Part of conv_bfloat16.inl, for 16 lanes.

typedef unsigned int Words __attribute__((vector_size(64)));
typedef unsigned short Halves __attribute__((vector_size(32)));
typedef unsigned short HalvesInMemory __attribute__((vector_size(32), aligned(2), may_alias));

inline Halves halves_at(const BFloat16* p) { return *reinterpret_cast<const HalvesInMemory*>(p); }
inline Words words_of(Halves halves) { return __builtin_convertvector(halves, Words); }
// To the nearest, ties to even.
inline Halves narrowed(Vector<16> values) { return reinterpret_cast<Halves>(_mm512_cvtneps_pbh(values)); }

template <int64_t kLanes>
Vector<kLanes> numbers_at(const BFloat16* p) {
  return reinterpret_cast<Vector<kLanes>>(words_of(halves_at(p)) << 16);
}
template <int64_t kLanes>
void put_numbers(BFloat16* p, Vector<kLanes> values) {
  *reinterpret_cast<HalvesInMemory*>(p) = narrowed(values);
}

template <int64_t kLanes>
__m512bh operand(const BFloat16* p) {
  return reinterpret_cast<__m512bh>(_mm512_loadu_si512(p));
}
template <int64_t kLanes>
__m512bh common_operand(const BFloat16* p) {
  int pair;
  __builtin_memcpy(&pair, p, sizeof pair);
  return reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
}
template <int64_t kLanes>
void add_product(Vector<kLanes>& sum, __m512bh a, __m512bh b) {
  sum = _mm512_dpbf16_ps(sum, a, b);
}

inline void put_pairs(BFloat16* p, Halves first, Halves second) {
  _mm512_storeu_si512(p, reinterpret_cast<__m512i>(words_of(first) | (words_of(second) << 16)));
}

inline void pair_weights(BFloat16* to, const float* square) {
  for (int64_t in = 0; in < 16; in += 2, square += 32, to += 32) {
    put_pairs(to, narrowed(at<16>(square)), narrowed(at<16>(square + 16)));
  }
}

inline void pair_tiles(BFloat16* to, const TileShape& to_shape, const BFloat16* from, const TileShape& from_shape,
                       int64_t positions, int64_t blocks, int64_t tiles) {
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t b = 0; b < blocks; ++b) {
      BFloat16* pairs = to + p * to_shape.position + b * to_shape.block;
      const BFloat16* own = from + p * from_shape.position + b * from_shape.block;
      int64_t t = 0;
      for (; t + 2 <= tiles; t += 2) put_pairs(pairs + t * 16, halves_at(own + t * 16), halves_at(own + t * 16 + 16));
      if (t < tiles) put_pairs(pairs + t * 16, halves_at(own + t * 16), Halves{});
    }
  }
}
