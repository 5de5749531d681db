// mlp.inl: the loops of Linear functions, once, over the compiler's vector types. Compiled once for each kernel
// path, as steps.inl is. It includes nothing with inline functions.
//
// A row is taken a register at a time. Where its length is no multiple of that, the last register ends with the row and
// overlaps the one before it: what it has in common with it is computed twice, and left out of sums.
#include "kernels/mlp/mlp_kernels.h"

namespace resnet_nodes::KERNEL_PATH {
namespace {

#include "kernels/registers.inl"

typedef Register<kWidest>::Floats Vector;
typedef Register<4>::Floats Four;
typedef int32_t Mask __attribute__((vector_size(kWidest * sizeof(int32_t)), may_alias));

// Accumulators that registers hold beside what they are made of: of `dots`, rows x columns; of `combine`, rows x
// registers of a row; of `outer`, columns x registers of a row.
constexpr int64_t kDotRows = kWidest == 4 ? 2 : 3, kDotColumns = kRegisters == 32 ? 8 : 4;
constexpr int64_t kCombineRows = kWidest == 4 ? 2 : 6, kCombineVectors = kWidest == 8 ? 2 : 4;
constexpr int64_t kOuterColumns = 4, kOuterVectors = kWidest == 16 ? 4 : kWidest == 8 ? 3 : 2;

// Chosen by number: a type loses its alignment where it is a template's argument. Locals are of the aligned type, for
// GCC drops what is said of alignment in some templates.
template <int64_t kWidth = kWidest>
typename Register<kWidth>::Unaligned& at(float* p) {
  return *reinterpret_cast<typename Register<kWidth>::Unaligned*>(p);
}
template <int64_t kWidth = kWidest>
const typename Register<kWidth>::Unaligned& at(const float* p) {
  return *reinterpret_cast<const typename Register<kWidth>::Unaligned*>(p);
}

// The lanes of a row's last register that no other has.
Mask last_lanes(int64_t width) {
  alignas(64) static constexpr int32_t kIndices[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const int64_t rest = width % kWidest, shared = rest == 0 ? 0 : kWidest - rest;
  return *reinterpret_cast<const Mask*>(kIndices) >= static_cast<int32_t>(shared);
}

Vector masked(Vector x, Mask mask) { return (Vector)((Mask)x & mask); }

double total_of(Vector sums) {
  double total = 0;
  for (int64_t i = 0; i < kWidest; ++i) total += static_cast<double>(sums[i]);
  return total;
}

template <int64_t kWidth>
Four folded(typename Register<kWidth>::Floats x) {
  if constexpr (kWidth == 16) {
    const auto half = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +
                      __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
    return __builtin_shufflevector(half, half, 0, 1, 2, 3) + __builtin_shufflevector(half, half, 4, 5, 6, 7);
  } else if constexpr (kWidth == 8) {
    return __builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7);
  } else {
    return x;
  }
}

// The sums of four registers' lanes.
Four totals_of(const Vector* x) {
  const Four a = folded<kWidest>(x[0]), b = folded<kWidest>(x[1]), c = folded<kWidest>(x[2]), d = folded<kWidest>(x[3]);
  const Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
  return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

// A number for templates, as an argument.
template <int64_t kCount>
struct Count {
  static constexpr int64_t value = kCount;
};

template <int64_t kRows, int64_t kColumns>
void dots_tile(float* out, const float* x, const float* weights, const float* bias, Mask mask, const MlpShape& shape) {
  Vector sums[kRows][kColumns] = {};
  const auto add = [&](int64_t i, const auto& part) {
    Vector values[kRows];
#pragma GCC unroll 4
    for (int64_t r = 0; r < kRows; ++r) values[r] = part(at(x + r * shape.width + i));
#pragma GCC unroll 8
    for (int64_t c = 0; c < kColumns; ++c) {
      const Vector w = at(weights + c * shape.pitch + i);
#pragma GCC unroll 4
      for (int64_t r = 0; r < kRows; ++r) sums[r][c] += values[r] * w;
    }
  };
  const int64_t last = shape.width - kWidest;
  for (int64_t i = 0; i < last; i += kWidest) add(i, [](Vector value) { return value; });
  add(last, [&](Vector value) { return masked(value, mask); });
#pragma GCC unroll 4
  for (int64_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int64_t c = 0; c < kColumns; c += 4) {
      const Four totals = totals_of(sums[r] + c);
      at<4>(out + r * shape.columns + c) = bias != nullptr ? totals + at<4>(bias + c) : totals;
    }
  }
}

// Some columns' weights stay in the first-level cache while all rows go by.
template <int64_t kColumns>
void dots_columns(float* out, const float* x, const float* weights, const float* bias, int64_t rows, Mask mask,
                  const MlpShape& shape) {
  int64_t r = 0;
  for (; r + kDotRows <= rows; r += kDotRows) {
    dots_tile<kDotRows, kColumns>(out + r * shape.columns, x + r * shape.width, weights, bias, mask, shape);
  }
  for (; r < rows; ++r) {
    dots_tile<1, kColumns>(out + r * shape.columns, x + r * shape.width, weights, bias, mask, shape);
  }
}

void dots(float* out, const float* x, const float* weights, const float* bias, int64_t rows, const MlpShape& shape) {
  const Mask mask = last_lanes(shape.width);
  const auto shifted = [&](int64_t c) { return bias != nullptr ? bias + c : nullptr; };
  int64_t c = 0;
  for (; c + kDotColumns <= shape.columns; c += kDotColumns) {
    dots_columns<kDotColumns>(out + c, x, weights + c * shape.pitch, shifted(c), rows, mask, shape);
  }
  if (c < shape.columns) dots_columns<4>(out + c, x, weights + c * shape.pitch, shifted(c), rows, mask, shape);
}

// Calls tile(count, i, last) for a row's registers, at most kMost at a time: they start at i, i + kWidest, ..., and the
// last of them at `last`.
template <int64_t kMost, typename Tile>
void for_vectors(const MlpShape& shape, const Tile& tile) {
  const int64_t end = shape.width - kWidest;
  const auto start = [&](int64_t i) { return i < end ? i : end; };
  int64_t i = 0;
  for (; i + (kMost - 1) * kWidest < shape.width; i += kMost * kWidest) {
    tile(Count<kMost>(), i, start(i + (kMost - 1) * kWidest));
  }
  for (; i < shape.width; i += kWidest) tile(Count<1>(), i, start(i));
}

// Calls finish(which register, its place in the rows, f) with f = hidden W + bias.
template <int64_t kRows, int64_t kVectors, typename Finish>
void combine_tile(const float* hidden, const float* weights, const float* bias, int64_t i, int64_t last,
                  const MlpShape& shape, const Finish& finish) {
  const auto place = [&](int64_t v) { return v < kVectors - 1 ? i + v * kWidest : last; };
  Vector sums[kRows][kVectors];
#pragma GCC unroll 4
  for (int64_t v = 0; v < kVectors; ++v) {
    const Vector start = bias != nullptr ? at(bias + place(v)) : Vector{};
#pragma GCC unroll 8
    for (int64_t r = 0; r < kRows; ++r) sums[r][v] = start;
  }
  for (int64_t c = 0; c < shape.hidden; ++c, weights += shape.pitch) {
    Vector w[kVectors];
#pragma GCC unroll 4
    for (int64_t v = 0; v < kVectors; ++v) w[v] = at(weights + place(v));
#pragma GCC unroll 8
    for (int64_t r = 0; r < kRows; ++r) {
      const float factor = hidden[r * shape.columns + c];
#pragma GCC unroll 4
      for (int64_t v = 0; v < kVectors; ++v) sums[r][v] += w[v] * factor;
    }
  }
#pragma GCC unroll 8
  for (int64_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int64_t v = 0; v < kVectors; ++v) finish(v, r * shape.width + place(v), sums[r][v]);
  }
}

// Calls finish(its place in the rows, which of a tile's registers, whether it ends a row, f) for each register.
template <typename Finish>
void for_combined(const float* hidden, const float* weights, const float* bias, int64_t rows, const MlpShape& shape,
                  const Finish& finish) {
  int64_t r = 0;
  const auto group = [&](auto count) {
    constexpr int64_t kRows = decltype(count)::value;
    const int64_t first = r * shape.width;
    for_vectors<kCombineVectors>(shape, [&](auto vectors, int64_t i, int64_t last) {
      constexpr int64_t kVectors = decltype(vectors)::value;
      combine_tile<kRows, kVectors>(hidden + r * shape.columns, weights, bias, i, last, shape,
                                    [&](int64_t v, int64_t k, Vector f) {
                                      finish(first + k, v, v == kVectors - 1 && last + kWidest == shape.width, f);
                                    });
    });
  };
  for (; r + kCombineRows <= rows; r += kCombineRows) group(Count<kCombineRows>());
  for (; r < rows; ++r) group(Count<1>());
}

void combine(float* out, const float* base, const float* hidden, const float* weights, const float* bias, double a,
             int64_t rows, const MlpShape& shape) {
  const float step = static_cast<float>(a);
  if (base == nullptr) {
    for_combined(hidden, weights, bias, rows, shape,
                 [&](int64_t i, int64_t, bool, Vector f) { at(out + i) = step * f; });
  } else {
    for_combined(hidden, weights, bias, rows, shape,
                 [&](int64_t i, int64_t, bool, Vector f) { at(out + i) = at(base + i) + step * f; });
  }
}

StepNorms correct(float* state, float* slope, const float* y, const float* predicted, const float* hidden,
                  const float* weights, const float* bias, double a, int64_t rows, const MlpShape& shape) {
  const float step = static_cast<float>(a);
  const Mask mask = last_lanes(shape.width);
  // One for each register of a tile: sums that wait for one another would hold it up.
  Vector differences[kCombineVectors] = {}, references[kCombineVectors] = {}, states[kCombineVectors] = {};
  const auto finish = [&](int64_t i, int64_t v, bool ends, Vector f) {
    const Vector increment = step * f, found = at(y + i) - increment;
    const Vector off = at(predicted + i) - found;
    const auto counted = [&](Vector value) { return ends ? masked(value, mask) : value; };
    const Vector difference = counted(off), reference = counted(increment), norm = counted(found);
    differences[v] += difference * difference;
    references[v] += reference * reference;
    states[v] += norm * norm;
    at(state + i) = found;
  };
  if (slope == nullptr) {
    for_combined(hidden, weights, bias, rows, shape, finish);
  } else {
    for_combined(hidden, weights, bias, rows, shape, [&](int64_t i, int64_t v, bool ends, Vector f) {
      at(slope + i) = f;
      finish(i, v, ends, f);
    });
  }
  StepNorms norms;
  for (int64_t v = 0; v < kCombineVectors; ++v) {
    norms.difference += total_of(differences[v]);
    norms.reference += total_of(references[v]);
    norms.state += total_of(states[v]);
  }
  return norms;
}

template <int64_t kVectors, bool kTotal>
void outer_tile(float* sums, float* total, const float* hidden, const float* x, int64_t rows, int64_t i, int64_t last,
                const MlpShape& shape) {
  const auto place = [&](int64_t v) { return v < kVectors - 1 ? i + v * kWidest : last; };
  Vector products[kOuterColumns][kVectors] = {}, plain[kVectors] = {};
  for (int64_t r = 0; r < rows; ++r, x += shape.width, hidden += shape.columns) {
    Vector values[kVectors];
#pragma GCC unroll 4
    for (int64_t v = 0; v < kVectors; ++v) {
      values[v] = at(x + place(v));
      if constexpr (kTotal) plain[v] += values[v];
    }
#pragma GCC unroll 4
    for (int64_t c = 0; c < kOuterColumns; ++c) {
      const float factor = hidden[c];
#pragma GCC unroll 4
      for (int64_t v = 0; v < kVectors; ++v) products[c][v] += values[v] * factor;
    }
  }
#pragma GCC unroll 4
  for (int64_t v = 0; v < kVectors; ++v) {
    if constexpr (kTotal) at(total + i + v * kWidest) += plain[v];
#pragma GCC unroll 4
    for (int64_t c = 0; c < kOuterColumns; ++c) at(sums + c * shape.pitch + i + v * kWidest) += products[c][v];
  }
}

void outer(float* sums, float* total, const float* hidden, const float* x, int64_t rows, const MlpShape& shape) {
  for_vectors<kOuterVectors>(shape, [&](auto vectors, int64_t i, int64_t last) {
    constexpr int64_t kVectors = decltype(vectors)::value;
    for (int64_t c = 0; c < shape.columns; c += kOuterColumns) {
      float* to = sums + c * shape.pitch;
      if (c == 0 && total != nullptr) {
        outer_tile<kVectors, true>(to, total, hidden, x, rows, i, last, shape);
      } else {
        outer_tile<kVectors, false>(to, nullptr, hidden + c, x, rows, i, last, shape);
      }
    }
  });
}

// Calls run(width, i) over `count` floats, a multiple of 4, `width` at a time.
template <typename Run>
void for_values(int64_t count, const Run& run) {
  int64_t i = 0;
  for (; i + kWidest <= count; i += kWidest) run(Count<kWidest>(), i);
  for (; i < count; i += 4) run(Count<4>(), i);
}

// The nearest integer, in the low bits of a float that is so large that its last place is 1.
constexpr float kRounder = 12582912.0f;

// tanh to two units in the last place: by x + x^3 P(x^2) below 0.625, else by 1 - 2 / (e^(2 |x|) + 1). The polynomials
// are those of Moshier's Cephes library.
template <int64_t kWidth>
typename Register<kWidth>::Floats tanh_of(typename Register<kWidth>::Floats x) {
  typedef typename Register<kWidth>::Floats T;
  typedef int32_t Integers __attribute__((vector_size(kWidth * sizeof(int32_t)), may_alias));
  const Integers sign = (Integers)x & static_cast<int32_t>(0x80000000);
  const T size = (T)((Integers)x ^ sign);
  const T square = size * size;
  T small = -5.70498872745e-3f * square + 2.06390887954e-2f;
  small = small * square - 5.37397155531e-2f;
  small = small * square + 1.33314422036e-1f;
  small = small * square - 3.33332819422e-1f;
  small = small * square * size + size;
  // 9 and more give 1; not a number stays one.
  const T most = T{} + 9.0f, twice = (size > most ? most : size) * 2.0f;
  const T shifted = twice * 1.44269504088896341f + kRounder, power = shifted - kRounder;
  const T rest = (twice - power * 0.693359375f) + power * 2.12194440e-4f;
  T exponential = 1.9875691500e-4f * rest + 1.3981999507e-3f;
  exponential = exponential * rest + 8.3334519073e-3f;
  exponential = exponential * rest + 4.1665795894e-2f;
  exponential = exponential * rest + 1.6666665459e-1f;
  exponential = exponential * rest + 5.0000001201e-1f;
  exponential = exponential * (rest * rest) + rest + 1.0f;
  const Integers scale = ((Integers)shifted << 23) + (127 << 23);
  const T large = 1.0f - 2.0f / (exponential * (T)scale + 1.0f);
  return (T)((Integers)(size < 0.625f ? small : large) | sign);
}

void activate_tanh(float* values, int64_t count) {
  for_values(count, [&](auto width, int64_t i) {
    constexpr int64_t kWidth = decltype(width)::value;
    at<kWidth>(values + i) = tanh_of<kWidth>(at<kWidth>(values + i));
  });
}

void activate_relu(float* values, int64_t count) {
  for_values(count, [&](auto width, int64_t i) {
    constexpr int64_t kWidth = decltype(width)::value;
    const typename Register<kWidth>::Floats value = at<kWidth>(values + i), none{};
    // Not a number stays one, as it does in LibTorch.
    at<kWidth>(values + i) = value < none ? none : value;
  });
}

void differentiate_tanh(float* gradient, const float* output, double a, int64_t count) {
  const float step = static_cast<float>(a);
  for_values(count, [&](auto width, int64_t i) {
    constexpr int64_t kWidth = decltype(width)::value;
    const typename Register<kWidth>::Floats value = at<kWidth>(output + i);
    at<kWidth>(gradient + i) = step * at<kWidth>(gradient + i) * (1.0f - value * value);
  });
}

void differentiate_relu(float* gradient, const float* output, double a, int64_t count) {
  const float step = static_cast<float>(a);
  for_values(count, [&](auto width, int64_t i) {
    constexpr int64_t kWidth = decltype(width)::value;
    const typename Register<kWidth>::Floats none{};
    at<kWidth>(gradient + i) = at<kWidth>(output + i) > none ? step * at<kWidth>(gradient + i) : none;
  });
}

void add_rows(float* sums, const float* values, int64_t rows, const MlpShape& shape) {
  for (int64_t r = 0; r < rows; ++r, values += shape.columns) {
    for (int64_t c = 0; c < shape.columns; c += 4) at<4>(sums + c) += at<4>(values + c);
  }
}

}  // namespace

extern const MlpKernels mlp;
const MlpKernels mlp{
    kWidest, dots, combine, correct, outer, {activate_tanh, activate_relu}, {differentiate_tanh, differentiate_relu},
    add_rows};

}  // namespace resnet_nodes::KERNEL_PATH
