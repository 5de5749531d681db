// transpose.inl: rows to columns, in squares that registers hold. Part of conv.inl.

template <int64_t kWidth>
struct Places {
  typedef int Ints __attribute__((vector_size(kWidth * sizeof(int))));
};

// One step of a square's transposition: blocks of kStep x kStep change places.
template <int64_t kWidth, int64_t kStep>
[[gnu::always_inline]] inline void exchange(typename Register<kWidth>::Floats* rows) {
  typename Places<kWidth>::Ints upper, lower;
#pragma GCC unroll 16
  for (int j = 0; j < kWidth; ++j) {
    const bool moves = (j & kStep) != 0;
    upper[j] = moves ? static_cast<int>(kWidth - kStep) + j : j;
    lower[j] = moves ? static_cast<int>(kWidth) + j : static_cast<int>(kStep) + j;
  }
#pragma GCC unroll 16
  for (int64_t i = 0; i < kWidth; ++i) {
    if ((i & kStep) != 0) continue;
    const typename Register<kWidth>::Floats a = rows[i], b = rows[i + kStep];
    rows[i] = __builtin_shuffle(a, b, upper);
    rows[i + kStep] = __builtin_shuffle(a, b, lower);
  }
}

template <int64_t kWidth, int64_t kStep = 1>
[[gnu::always_inline]] inline void transpose_square(typename Register<kWidth>::Floats* rows) {
  exchange<kWidth, kStep>(rows);
  if constexpr (2 * kStep < kWidth) transpose_square<kWidth, 2 * kStep>(rows);
}

template <int64_t kLanes>
void transpose(float* to, const float* from, int64_t row, int64_t columns) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth;
  for (int64_t column = 0; column < columns; column += kWidth) {
    for (int64_t lane = 0; lane < kLanes; lane += kWidth) {
      typename Register<kWidth>::Floats rows[kWidth];
#pragma GCC unroll 16
      for (int64_t i = 0; i < kWidth; ++i) rows[i] = at<kLanes>(from + (lane + i) * row + column);
      transpose_square<kWidth>(rows);
#pragma GCC unroll 16
      for (int64_t i = 0; i < kWidth; ++i) at<kLanes>(to + (column + i) * kLanes + lane) = rows[i];
    }
  }
}

// From [lane][tap] to [tap][lane], 16 taps, of which nine count.
template <int64_t kLanes>
void taps_to_lanes(float* to, const float* row) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth;
  // With room to read whole registers behind the last lane.
  float in_order[9 * kLanes + 16];
  for (int64_t i = 0; i < 9 * kLanes; i += kWidth) at<kLanes>(in_order + i) = at<kLanes>(row + i);
  for (int64_t i = 9 * kLanes; i < 9 * kLanes + 16; i += kWidth) at<kLanes>(in_order + i) = Vector<kLanes>{};
  transpose<kLanes>(to, in_order, 9, 16);
}

// From [tap][lane], taps `tap` numbers apart, to [lane][tap].
template <int64_t kLanes>
void lanes_to_taps(float* to, const float* taps, int64_t tap) {
  float by_lane[kLanes * kLanes];
  if constexpr (kLanes >= 9) {
    float padded[kLanes * kLanes] = {};
    for (int64_t t = 0; t < 9; ++t) {
      for (int64_t i = 0; i < kLanes; i += Block<kLanes>::kWidth) {
        at<kLanes>(padded + t * kLanes + i) = at<kLanes>(taps + t * tap + i);
      }
    }
    transpose<kLanes>(by_lane, padded, kLanes, kLanes);
    for (int64_t lane = 0; lane < kLanes; ++lane) __builtin_memcpy(to + 9 * lane, by_lane + kLanes * lane, 36);
  } else {
    transpose<kLanes>(by_lane, taps, tap, kLanes);
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      __builtin_memcpy(to + 9 * lane, by_lane + kLanes * lane, 32);
      to[9 * lane + 8] = taps[8 * tap + lane];
    }
  }
}
