// conv.inl: the loops of one image, once, over the compiler's vector types. Compiled once for each kernel path, as
// steps.inl is. It includes nothing with inline functions.
#include "kernels/conv/conv_kernels.h"

namespace resnet_nodes::KERNEL_PATH {
namespace {

#include "kernels/registers.inl"

// How a block of kLanes channels lies in registers.
template <int64_t kLanes>
struct Block {
  static constexpr int64_t kWidth = kLanes < kWidest ? kLanes : kWidest;
  static constexpr int64_t kVectors = kLanes / kWidth;
  typedef typename Register<kWidth>::Unaligned Vector;

  // What registers hold beside the weights and, without operands that broadcast from memory, one input: tiles of a
  // convolution for one and for two blocks of output channels, and input channels of a weight gradient (0: never two).
  static constexpr bool kMany = kRegisters == 32;
  static constexpr int64_t kTiles = (kMany ? 26 : 12) / kVectors;
  static constexpr int64_t kTilesOfPairs = kVectors > 1 ? 0 : kMany ? 13 : 6;
  static constexpr int64_t kInputs = (kMany ? kLanes : 8) / kVectors;
  static constexpr int64_t kInputsOfPairs = kVectors > 1 ? 0 : kMany ? 8 : 4;
};

template <int64_t kLanes>
using Vector = typename Block<kLanes>::Vector;

template <int64_t kLanes>
Vector<kLanes>& at(float* p) {
  return *reinterpret_cast<Vector<kLanes>*>(p);
}
template <int64_t kLanes>
const Vector<kLanes>& at(const float* p) {
  return *reinterpret_cast<const Vector<kLanes>*>(p);
}

#include "kernels/conv/winograd.inl"

// Calls make(channel), once for each vector of channels, and its result for each row: run(dense, bordered), the offsets
// of the row's first pixel. The coefficients of a channel so stay in registers.
template <int64_t kLanes, typename Make>
void for_rows(const ConvShape& shape, const Make& make) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth;
  for (int64_t channel = 0; channel < shape.channels; channel += kWidth) {
    auto run = make(channel);
    const int64_t inside = channel / kLanes * shape.plane + channel % kLanes + kLanes;
    for (int64_t y = 0; y < shape.height; ++y) {
      run(y * shape.width * shape.channels + channel, inside + (y + 1) * shape.row);
    }
    run.finish();
  }
}

template <typename Run, typename Finish>
struct Rows {
  Run run;
  Finish end;
  void operator()(int64_t dense, int64_t bordered) { run(dense, bordered); }
  void finish() { end(); }
};
template <typename Run, typename Finish>
Rows(Run, Finish) -> Rows<Run, Finish>;
constexpr auto kNothing = [] {};

template <int64_t kLanes>
void border(float* bordered, const float* dense, const ConvShape& shape) {
  for_rows<kLanes>(shape, [&](int64_t) {
    return Rows{[&](int64_t from, int64_t to) {
                  for (int64_t k = 0; k < shape.width; ++k) {
                    at<kLanes>(bordered + to + k * kLanes) = at<kLanes>(dense + from + k * shape.channels);
                  }
                },
                kNothing};
  });
}

template <int64_t kLanes>
void affine_relu(float* bordered, const float* x, const float* scale, const float* shift, const ConvShape& shape) {
  for_rows<kLanes>(shape, [&](int64_t channel) {
    const Vector<kLanes> a = at<kLanes>(scale + channel), b = at<kLanes>(shift + channel), zero{};
    return Rows{[&, a, b, zero](int64_t from, int64_t to) {
                  for (int64_t k = 0; k < shape.width; ++k) {
                    const Vector<kLanes> z = a * at<kLanes>(x + from + k * shape.channels) + b;
                    // Not a number stays one, as it does in LibTorch.
                    at<kLanes>(bordered + to + k * kLanes) = z < zero ? zero : z;
                  }
                },
                kNothing};
  });
}

template <int64_t kLanes>
void moments(float* mean, float* squares, const float* x, const ConvShape& shape) {
  const float share = 1.0f / static_cast<float>(shape.height * shape.width);
  Vector<kLanes> total, average;
  for (int pass = 0; pass < 2; ++pass) {
    for_rows<kLanes>(shape, [&](int64_t channel) {
      total = Vector<kLanes>{};
      average = pass == 0 ? total : at<kLanes>(mean + channel);
      return Rows{[&, pass](int64_t from, int64_t) {
                    Vector<kLanes> sum{};  // of one row: shorter sums, less rounding
                    for (int64_t k = 0; k < shape.width; ++k) {
                      const Vector<kLanes> off = at<kLanes>(x + from + k * shape.channels) - average;
                      sum += pass == 0 ? off : off * off;
                    }
                    total += sum;
                  },
                  [&, pass, channel] {
                    at<kLanes>((pass == 0 ? mean : squares) + channel) = pass == 0 ? total * share : total;
                  }};
    });
  }
}

template <int64_t kLanes>
void affine(float* out, const float* base, const float* x, const float* scale, const float* shift,
            const ConvShape& shape) {
  for_rows<kLanes>(shape, [&](int64_t channel) {
    const Vector<kLanes> a = at<kLanes>(scale + channel), b = at<kLanes>(shift + channel);
    return Rows{[&, a, b](int64_t from, int64_t) {
                  for (int64_t k = 0; k < shape.width; ++k) {
                    const int64_t i = from + k * shape.channels;
                    const Vector<kLanes> f = a * at<kLanes>(x + i) + b;
                    at<kLanes>(out + i) = base != nullptr ? at<kLanes>(base + i) + f : f;
                  }
                },
                kNothing};
  });
}

template <int64_t kLanes>
double total_of(const Vector<kLanes>& sums) {
  double total = 0;
  for (int64_t i = 0; i < Block<kLanes>::kWidth; ++i) total += static_cast<double>(sums[i]);
  return total;
}

template <int64_t kLanes>
StepNorms correct(float* state, float* slope, const float* y, const float* predicted, const float* x,
                  const float* scale, const float* shift, double h, const ConvShape& shape) {
  const float step = static_cast<float>(h);
  StepNorms norms;
  Vector<kLanes> differences, references, states;
  for_rows<kLanes>(shape, [&](int64_t channel) {
    const Vector<kLanes> a = at<kLanes>(scale + channel), b = at<kLanes>(shift + channel);
    differences = references = states = Vector<kLanes>{};
    return Rows{[&, a, b](int64_t from, int64_t) {
                  Vector<kLanes> difference{}, reference{}, norm{};  // of one row: shorter sums, less rounding
                  for (int64_t k = 0; k < shape.width; ++k) {
                    const int64_t i = from + k * shape.channels;
                    const Vector<kLanes> f = a * at<kLanes>(x + i) + b, increment = step * f;
                    const Vector<kLanes> found = at<kLanes>(y + i) - increment;
                    const Vector<kLanes> off = at<kLanes>(predicted + i) - found;
                    difference += off * off;
                    reference += increment * increment;
                    norm += found * found;
                    if (slope != nullptr) at<kLanes>(slope + i) = f;
                    at<kLanes>(state + i) = found;
                  }
                  differences += difference;
                  references += reference;
                  states += norm;
                },
                [&] {
                  norms.difference += total_of<kLanes>(differences);
                  norms.reference += total_of<kLanes>(references);
                  norms.state += total_of<kLanes>(states);
                }};
  });
  return norms;
}

template <int64_t kLanes>
void product_sums(float* sum, float* product, const float* g, const float* x, const float* mean,
                  const ConvShape& shape) {
  Vector<kLanes> sums, products;
  for_rows<kLanes>(shape, [&](int64_t channel) {
    sums = products = Vector<kLanes>{};
    const Vector<kLanes> m = at<kLanes>(mean + channel);
    return Rows{[&, m](int64_t from, int64_t) {
                  Vector<kLanes> row{}, row_products{};
                  for (int64_t k = 0; k < shape.width; ++k) {
                    const int64_t i = from + k * shape.channels;
                    const Vector<kLanes> one = at<kLanes>(g + i);
                    row += one;
                    row_products += one * (at<kLanes>(x + i) - m);
                  }
                  sums += row;
                  products += row_products;
                },
                [&, channel] {
                  at<kLanes>(sum + channel) = sums;
                  at<kLanes>(product + channel) = products;
                }};
  });
}

template <int64_t kLanes>
void norm_gradient(float* bordered, float* sum, const float* g, const float* x, const float* mean, const float* by_g,
                   const float* by_x, const float* shift, const ConvShape& shape) {
  Vector<kLanes> sums;
  for_rows<kLanes>(shape, [&](int64_t channel) {
    sums = Vector<kLanes>{};
    const Vector<kLanes> a = at<kLanes>(by_g + channel), b = at<kLanes>(by_x + channel),
                         c = at<kLanes>(shift + channel), m = at<kLanes>(mean + channel);
    return Rows{[&, a, b, c, m](int64_t from, int64_t to) {
                  Vector<kLanes> row{};
                  for (int64_t k = 0; k < shape.width; ++k) {
                    const int64_t i = from + k * shape.channels;
                    const Vector<kLanes> result = a * at<kLanes>(g + i) + (b * (at<kLanes>(x + i) - m) + c);
                    row += result;
                    at<kLanes>(bordered + to + k * kLanes) = result;
                  }
                  sums += row;
                },
                [&, channel] { at<kLanes>(sum + channel) += sums; }};
  });
}

template <int64_t kLanes>
void mask(float* g, const float* activation, const ConvShape& shape) {
  for_rows<kLanes>(shape, [&](int64_t) {
    return Rows{[&](int64_t to, int64_t from) {
                  const Vector<kLanes> zero{};
                  for (int64_t k = 0; k < shape.width; ++k) {
                    Vector<kLanes>& value = at<kLanes>(g + to + k * shape.channels);
                    value = at<kLanes>(activation + from + k * kLanes) > zero ? value : zero;
                  }
                },
                kNothing};
  });
}

template <int64_t kLanes>
constexpr ConvKernels kernels() {
  return {
      border<kLanes>,         affine_relu<kLanes>, convolve<kLanes>, weight_gradient<kLanes>, transform_weights<kLanes>,
      transform_sums<kLanes>, moments<kLanes>,     affine<kLanes>,   correct<kLanes>,         product_sums<kLanes>,
      norm_gradient<kLanes>,  mask<kLanes>};
}

}  // namespace

extern const ConvKernels conv8;
extern const ConvKernels conv16;
const ConvKernels conv8 = kernels<8>();
const ConvKernels conv16 = kernels<16>();

}  // namespace resnet_nodes::KERNEL_PATH
