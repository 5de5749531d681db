// steps.inl: every fused step, once, over vectors of eight elements. Compiled once for each kernel path, whose file
// says how wide its registers are, and includes this one. It includes nothing with inline functions: the linker would
// keep one copy of such a function, perhaps one built for a processor that this is not.
#include "kernels/steps/step_kernels.h"

namespace resnet_nodes::KERNEL_PATH {
namespace {

constexpr int64_t kLanes = 8;

// Eight elements that need no more alignment than one, and may overlay memory of any type.
template <typename T, int64_t kCount = kLanes>
struct Vector {
  typedef T type __attribute__((vector_size(kCount * sizeof(T)), aligned(sizeof(T)), may_alias));
};

template <typename T>
typename Vector<T>::type& at(T* p) {
  return *reinterpret_cast<typename Vector<T>::type*>(p);
}
template <typename T>
const typename Vector<T>::type& at(const T* p) {
  return *reinterpret_cast<const typename Vector<T>::type*>(p);
}

// Steps with sums go by as many elements as one register holds doubles: GCC keeps wider sums in memory, which made
// them slower with AVX2 than without.
constexpr int64_t kPart = kWidest / 2;
constexpr int64_t kParts = kLanes / kPart;

template <typename T>
using Part = typename Vector<T, kPart>::type;
typedef double Doubles __attribute__((vector_size(kPart * sizeof(double))));

template <typename T>
Part<T>& part_at(T* p) {
  return *reinterpret_cast<Part<T>*>(p);
}
template <typename T>
const Part<T>& part_at(const T* p) {
  return *reinterpret_cast<const Part<T>*>(p);
}

// Lane i % 8 takes element i, whatever the registers' width: the same order of additions on every path and every tail.
struct Sums {
  Doubles parts[kParts] = {};

  void add(int64_t lane, double value) { parts[lane / kPart][lane % kPart] += value; }
  double total() const {
    double s[kLanes];
    for (int64_t lane = 0; lane < kLanes; ++lane) s[lane] = parts[lane / kPart][lane % kPart];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
  }
};

template <typename T>
void add_scaled(T* out, const T* x, const T* f, double a, int64_t count) {
  const T scale = static_cast<T>(a);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) at(out + i) = at(x + i) + scale * at(f + i);
  for (; i < count; ++i) out[i] = x[i] + scale * f[i];
}

template <typename T>
void add_scaled_sum(T* out, const T* x, const T* f, const T* g, double a, int64_t count) {
  const T scale = static_cast<T>(a);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) at(out + i) = at(x + i) + scale * (at(f + i) + at(g + i));
  for (; i < count; ++i) out[i] = x[i] + scale * (f[i] + g[i]);
}

template <typename T>
StepNorms correct(T* out, const T* y, const T* f, const T* predicted, double a, int64_t count) {
  const T scale = static_cast<T>(a);
  Sums difference, reference, state;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t part = 0; part < kParts; ++part) {
      const int64_t k = i + part * kPart;
      const Part<T> increment = scale * part_at(f + k);
      const Part<T> found = part_at(y + k) - increment;
      const Doubles wide = __builtin_convertvector(found, Doubles);
      const Doubles off = __builtin_convertvector(part_at(predicted + k), Doubles) - wide;
      const Doubles step = __builtin_convertvector(increment, Doubles);
      difference.parts[part] += off * off;
      reference.parts[part] += step * step;
      state.parts[part] += wide * wide;
      part_at(out + k) = found;
    }
  }
  for (int64_t lane = 0; i < count; ++i, ++lane) {
    const T increment = scale * f[i];
    const T found = y[i] - increment;
    const double off = static_cast<double>(predicted[i]) - static_cast<double>(found);
    difference.add(lane, off * off);
    reference.add(lane, static_cast<double>(increment) * static_cast<double>(increment));
    state.add(lane, static_cast<double>(found) * static_cast<double>(found));
    out[i] = found;
  }
  return {difference.total(), reference.total(), state.total()};
}

template <typename T, int64_t kTerms>
void extrapolate_terms(T* out, const T* y, const T* const* f, const double* c, double a, int64_t count) {
  const T scale = static_cast<T>(a);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    typename Vector<T>::type slope = static_cast<T>(c[0]) * at(f[0] + i);
    for (int64_t k = 1; k < kTerms; ++k) slope += static_cast<T>(c[k]) * at(f[k] + i);
    at(out + i) = at(y + i) - scale * slope;
  }
  for (; i < count; ++i) {
    T slope = static_cast<T>(c[0]) * f[0][i];
    for (int64_t k = 1; k < kTerms; ++k) slope += static_cast<T>(c[k]) * f[k][i];
    out[i] = y[i] - scale * slope;
  }
}

template <typename T>
void extrapolate(T* out, const T* y, const T* const* f, const double* c, int64_t terms, double a, int64_t count) {
  if (terms == 1) extrapolate_terms<T, 1>(out, y, f, c, a, count);
  if (terms == 2) extrapolate_terms<T, 2>(out, y, f, c, a, count);
  if (terms == 3) extrapolate_terms<T, 3>(out, y, f, c, a, count);
}

template <typename T>
StepNorms distance(const T* x, const T* reference_values, int64_t count) {
  Sums difference, reference;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t part = 0; part < kParts; ++part) {
      const int64_t k = i + part * kPart;
      const Doubles base = __builtin_convertvector(part_at(reference_values + k), Doubles);
      const Doubles off = __builtin_convertvector(part_at(x + k), Doubles) - base;
      difference.parts[part] += off * off;
      reference.parts[part] += base * base;
    }
  }
  for (int64_t lane = 0; i < count; ++i, ++lane) {
    const double base = static_cast<double>(reference_values[i]);
    const double off = static_cast<double>(x[i]) - base;
    difference.add(lane, off * off);
    reference.add(lane, base * base);
  }
  return {difference.total(), reference.total(), reference.total()};
}

template <typename T>
void relu_backward(T* out, const T* grad, const T* output, int64_t count) {
  int64_t i = 0;
  for (; i + kPart <= count; i += kPart) {
    part_at(out + i) = part_at(output + i) > Part<T>{} ? part_at(grad + i) : Part<T>{};
  }
  for (; i < count; ++i) out[i] = output[i] > 0 ? grad[i] : T(0);
}

template <typename T>
void channel_sums(double* sums, const T* g, const T* x, const T* mean, int64_t channels, int64_t pixels) {
  int64_t c = 0;
  for (; c + kPart <= channels; c += kPart) {
    const Doubles center = __builtin_convertvector(part_at(mean + c), Doubles);
    Doubles sum = {}, product = {};
    for (int64_t i = 0; i < pixels; ++i) {
      const Doubles value = __builtin_convertvector(part_at(g + i * channels + c), Doubles);
      sum += value;
      product += value * (__builtin_convertvector(part_at(x + i * channels + c), Doubles) - center);
    }
    for (int64_t lane = 0; lane < kPart; ++lane) {
      sums[c + lane] = sum[lane];
      sums[channels + c + lane] = product[lane];
    }
  }
  for (; c < channels; ++c) {
    double sum = 0, product = 0;
    for (int64_t i = 0; i < pixels; ++i) {
      const double value = static_cast<double>(g[i * channels + c]);
      sum += value;
      product += value * (static_cast<double>(x[i * channels + c]) - static_cast<double>(mean[c]));
    }
    sums[c] = sum;
    sums[channels + c] = product;
  }
}

template <typename T>
void channel_affine(T* out, const T* g, const T* x, const T* mean, const T* a, const T* b, const T* d, int64_t channels,
                    int64_t pixels) {
  for (int64_t i = 0; i < pixels; ++i, out += channels, g += channels, x += channels) {
    int64_t c = 0;
    for (; c + kPart <= channels; c += kPart) {
      part_at(out + c) =
          part_at(a + c) * part_at(g + c) + part_at(b + c) * (part_at(x + c) - part_at(mean + c)) + part_at(d + c);
    }
    for (; c < channels; ++c) out[c] = a[c] * g[c] + b[c] * (x[c] - mean[c]) + d[c];
  }
}

template <typename T>
constexpr StepKernels<T> kernels() {
  return {add_scaled<T>, add_scaled_sum<T>, correct<T>,      extrapolate<T>,
          distance<T>,   relu_backward<T>,  channel_sums<T>, channel_affine<T>};
}

}  // namespace

extern const StepKernels<float> steps_float32;
extern const StepKernels<double> steps_float64;
const StepKernels<float> steps_float32 = kernels<float>();
const StepKernels<double> steps_float64 = kernels<double>();

}  // namespace resnet_nodes::KERNEL_PATH
