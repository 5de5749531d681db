// conv.inl: the loops of a group of images, once, over the compiler's vector types. Compiled once for each kernel path,
// as steps.inl is. It includes nothing with inline functions.
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
  // convolution for one and for two blocks of output channels, and output channels of a weight gradient (0: never two).
  static constexpr bool kMany = kRegisters == 32;
  static constexpr int64_t kTiles = (kMany ? 26 : 12) / kVectors;
  static constexpr int64_t kTilesOfPairs = kVectors > 1 ? 0 : kMany ? 13 : 6;
  static constexpr int64_t kOutputs = (kMany ? kLanes : 8) / kVectors;
  static constexpr int64_t kOutputsOfPairs = kVectors > 1 ? 0 : kMany ? 8 : 4;
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

#include "kernels/conv/products.inl"
#include "kernels/conv/transpose.inl"

// Vectors of neighbouring channels that a loop over pixels takes along: whole pieces of the cache's lines and pages.
template <int64_t kLanes, int64_t kStrip>
struct Strip {
  static constexpr int64_t kCount = kStrip;
  Vector<kLanes> values[kStrip];

  Vector<kLanes>& operator[](int64_t v) { return values[v]; }
  const Vector<kLanes>& operator[](int64_t v) const { return values[v]; }
};

// body(v) for each vector of a strip.
template <int64_t kStrip, typename Body>
[[gnu::always_inline]] inline void each(const Body& body) {
#pragma GCC unroll 4
  for (int64_t v = 0; v < kStrip; ++v) body(v);
}

template <int64_t kLanes, int64_t kStrip>
[[gnu::always_inline]] inline Strip<kLanes, kStrip> loaded(const float* p) {
  Strip<kLanes, kStrip> strip;
  each<kStrip>([&](int64_t v) { strip[v] = at<kLanes>(p + v * Block<kLanes>::kWidth); });
  return strip;
}
template <int64_t kLanes, int64_t kStrip>
[[gnu::always_inline]] inline void store(float* p, const Strip<kLanes, kStrip>& strip) {
  each<kStrip>([&](int64_t v) { at<kLanes>(p + v * Block<kLanes>::kWidth) = strip[v]; });
}

// The runs of neighbouring pixels of a group: run(dense offset, blocked offset, pixels). Sums of a run are added up
// before they are added to the others: less rounding.
template <int64_t kLanes, typename Run>
[[gnu::always_inline]] inline void for_runs(const ConvShape& shape, const Run& run) {
  if (!shape.is_bordered) {
    constexpr int64_t kRun = 32;
    const int64_t pixels = shape.images * shape.height * shape.width;
    for (int64_t p = 0; p < pixels; p += kRun) {
      run(p * shape.channels, p * kLanes, pixels - p < kRun ? pixels - p : kRun);
    }
    return;
  }
  for (int64_t i = 0; i < shape.images; ++i) {
    for (int64_t y = 0; y < shape.height; ++y) {
      run((i * shape.height + y) * shape.width * shape.channels, i * shape.plane + (y + 1) * shape.row + kLanes,
          shape.width);
    }
  }
}

// body.operator()<kStrip>(channel) for strips that cover all channels.
template <int64_t kLanes, typename Body>
[[gnu::always_inline]] inline void for_strips(const ConvShape& shape, const Body& body) {
  constexpr int64_t kWidth = Block<kLanes>::kWidth;
  int64_t channel = 0;
  for (; channel + 4 * kWidth <= shape.channels; channel += 4 * kWidth) body.template operator()<4>(channel);
  for (; channel < shape.channels; channel += kWidth) body.template operator()<1>(channel);
}

// Where a strip's vectors stand in a blocked image.
template <int64_t kLanes, int64_t kStrip, typename Float>
struct Blocked {
  Float* first[kStrip];

  Blocked(Float* blocked, int64_t channel, const ConvShape& shape) {
    for (int64_t v = 0; v < kStrip; ++v) {
      const int64_t c = channel + v * Block<kLanes>::kWidth;
      first[v] = blocked + c / kLanes * shape.block + c % kLanes;
    }
  }
};

template <int64_t kLanes>
void block(float* blocked, const float* dense, float floor, const ConvShape& shape) {
  for_strips<kLanes>(shape, [&]<int64_t kStrip>(int64_t channel) {
    const Blocked<kLanes, kStrip, float> to(blocked, channel, shape);
    const Vector<kLanes> least = Vector<kLanes>{} + floor;
    for_runs<kLanes>(shape, [&](int64_t from, int64_t place, int64_t pixels) {
      const float* x = dense + channel + from;
      for (int64_t k = 0; k < pixels; ++k, x += shape.channels, place += kLanes) {
        const auto values = loaded<kLanes, kStrip>(x);
        // Not a number stays one, as it does in LibTorch.
        each<kStrip>([&](int64_t v) { at<kLanes>(to.first[v] + place) = values[v] < least ? least : values[v]; });
      }
    });
  });
}

template <int64_t kLanes>
void affine_relu(float* blocked, const float* x, const float* scale, const float* shift, const ConvShape& shape) {
  for_strips<kLanes>(shape, [&]<int64_t kStrip>(int64_t channel) {
    const Blocked<kLanes, kStrip, float> to(blocked, channel, shape);
    const auto a = loaded<kLanes, kStrip>(scale + channel), b = loaded<kLanes, kStrip>(shift + channel);
    const Vector<kLanes> zero{};
    for_runs<kLanes>(shape, [&](int64_t from, int64_t place, int64_t pixels) {
      const float* values = x + channel + from;
      for (int64_t k = 0; k < pixels; ++k, values += shape.channels, place += kLanes) {
        const auto own = loaded<kLanes, kStrip>(values);
        each<kStrip>([&](int64_t v) {
          const Vector<kLanes> z = a[v] * own[v] + b[v];
          at<kLanes>(to.first[v] + place) = z < zero ? zero : z;
        });
      }
    });
  });
}

template <int64_t kLanes>
void moments(float* mean, float* squares, const float* x, const ConvShape& shape) {
  const float share = 1.0f / static_cast<float>(shape.images * shape.height * shape.width);
  for (int pass = 0; pass < 2; ++pass) {
    for_strips<kLanes>(shape, [&]<int64_t kStrip>(int64_t channel) {
      Strip<kLanes, kStrip> total{}, average{};
      if (pass == 1) average = loaded<kLanes, kStrip>(mean + channel);
      for_runs<kLanes>(shape, [&](int64_t from, int64_t, int64_t pixels) {
        const float* values = x + channel + from;
        Strip<kLanes, kStrip> sum{};
        for (int64_t k = 0; k < pixels; ++k, values += shape.channels) {
          const auto own = loaded<kLanes, kStrip>(values);
          each<kStrip>([&](int64_t v) {
            const Vector<kLanes> off = own[v] - average[v];
            sum[v] += pass == 0 ? off : off * off;
          });
        }
        each<kStrip>([&](int64_t v) { total[v] += sum[v]; });
      });
      if (pass == 0) each<kStrip>([&](int64_t v) { total[v] *= share; });
      store<kLanes, kStrip>((pass == 0 ? mean : squares) + channel, total);
    });
  }
}

template <int64_t kLanes>
void affine(float* out, const float* base, const float* x, const float* scale, const float* shift,
            const ConvShape& shape) {
  for_strips<kLanes>(shape, [&]<int64_t kStrip>(int64_t channel) {
    const auto a = loaded<kLanes, kStrip>(scale + channel), b = loaded<kLanes, kStrip>(shift + channel);
    for_runs<kLanes>(shape, [&](int64_t from, int64_t, int64_t pixels) {
      for (int64_t k = 0, i = channel + from; k < pixels; ++k, i += shape.channels) {
        auto f = loaded<kLanes, kStrip>(x + i);
        each<kStrip>([&](int64_t v) { f[v] = a[v] * f[v] + b[v]; });
        if (base != nullptr) {
          const auto own = loaded<kLanes, kStrip>(base + i);
          each<kStrip>([&](int64_t v) { f[v] += own[v]; });
        }
        store<kLanes, kStrip>(out + i, f);
      }
    });
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
  for_strips<kLanes>(shape, [&]<int64_t kStrip>(int64_t channel) {
    const auto a = loaded<kLanes, kStrip>(scale + channel), b = loaded<kLanes, kStrip>(shift + channel);
    Vector<kLanes> differences{}, references{}, states{};
    for_runs<kLanes>(shape, [&](int64_t from, int64_t, int64_t pixels) {
      Vector<kLanes> difference{}, reference{}, norm{};
      for (int64_t k = 0, i = channel + from; k < pixels; ++k, i += shape.channels) {
        auto f = loaded<kLanes, kStrip>(x + i), found = loaded<kLanes, kStrip>(y + i);
        const auto guess = loaded<kLanes, kStrip>(predicted + i);
        each<kStrip>([&](int64_t v) {
          f[v] = a[v] * f[v] + b[v];
          const Vector<kLanes> increment = step * f[v];
          found[v] -= increment;
          const Vector<kLanes> off = guess[v] - found[v];
          difference += off * off;
          reference += increment * increment;
          norm += found[v] * found[v];
        });
        if (slope != nullptr) store<kLanes, kStrip>(slope + i, f);
        store<kLanes, kStrip>(state + i, found);
      }
      differences += difference;
      references += reference;
      states += norm;
    });
    norms.difference += total_of<kLanes>(differences);
    norms.reference += total_of<kLanes>(references);
    norms.state += total_of<kLanes>(states);
  });
  return norms;
}

template <int64_t kLanes>
void product_sums(float* sum, float* product, const float* g, const float* x, const float* mean,
                  const ConvShape& shape) {
  for_strips<kLanes>(shape, [&]<int64_t kStrip>(int64_t channel) {
    Strip<kLanes, kStrip> sums{}, products{};
    const auto m = loaded<kLanes, kStrip>(mean + channel);
    for_runs<kLanes>(shape, [&](int64_t from, int64_t, int64_t pixels) {
      Strip<kLanes, kStrip> row{}, row_products{};
      for (int64_t k = 0, i = channel + from; k < pixels; ++k, i += shape.channels) {
        const auto one = loaded<kLanes, kStrip>(g + i), value = loaded<kLanes, kStrip>(x + i);
        each<kStrip>([&](int64_t v) {
          row[v] += one[v];
          row_products[v] += one[v] * (value[v] - m[v]);
        });
      }
      each<kStrip>([&](int64_t v) {
        sums[v] += row[v];
        products[v] += row_products[v];
      });
    });
    store<kLanes, kStrip>(sum + channel, sums);
    store<kLanes, kStrip>(product + channel, products);
  });
}

template <int64_t kLanes>
void norm_gradient(float* blocked, float* sum, const float* g, const float* x, const float* mean, const float* by_g,
                   const float* by_x, const float* shift, const ConvShape& shape) {
  for_strips<kLanes>(shape, [&]<int64_t kStrip>(int64_t channel) {
    const Blocked<kLanes, kStrip, float> to(blocked, channel, shape);
    const auto a = loaded<kLanes, kStrip>(by_g + channel), b = loaded<kLanes, kStrip>(by_x + channel),
               c = loaded<kLanes, kStrip>(shift + channel), m = loaded<kLanes, kStrip>(mean + channel);
    auto sums = loaded<kLanes, kStrip>(sum + channel);
    for_runs<kLanes>(shape, [&](int64_t from, int64_t place, int64_t pixels) {
      Strip<kLanes, kStrip> row{};
      for (int64_t k = 0, i = channel + from; k < pixels; ++k, i += shape.channels, place += kLanes) {
        const auto one = loaded<kLanes, kStrip>(g + i), value = loaded<kLanes, kStrip>(x + i);
        each<kStrip>([&](int64_t v) {
          const Vector<kLanes> result = a[v] * one[v] + (b[v] * (value[v] - m[v]) + c[v]);
          row[v] += result;
          at<kLanes>(to.first[v] + place) = result;
        });
      }
      each<kStrip>([&](int64_t v) { sums[v] += row[v]; });
    });
    store<kLanes, kStrip>(sum + channel, sums);
  });
}

template <int64_t kLanes>
void mask(float* out, const float* base, const float* g, const float* activation, const ConvShape& shape) {
  for_strips<kLanes>(shape, [&]<int64_t kStrip>(int64_t channel) {
    const Blocked<kLanes, kStrip, const float> active(activation, channel, shape);
    const Vector<kLanes> zero{};
    for_runs<kLanes>(shape, [&](int64_t from, int64_t place, int64_t pixels) {
      for (int64_t k = 0, i = channel + from; k < pixels; ++k, i += shape.channels, place += kLanes) {
        auto value = loaded<kLanes, kStrip>(g + i);
        each<kStrip>([&](int64_t v) { value[v] = at<kLanes>(active.first[v] + place) > zero ? value[v] : zero; });
        if (base != nullptr) {
          const auto own = loaded<kLanes, kStrip>(base + i);
          each<kStrip>([&](int64_t v) { value[v] += own[v]; });
        }
        store<kLanes, kStrip>(out + i, value);
      }
    });
  });
}

template <int64_t kLanes>
constexpr ConvKernels kernels() {
  return {block<kLanes>,          affine_relu<kLanes>,  convolve<kLanes>,          input_tiles<kLanes>,
          gradient_tiles<kLanes>, sum_products<kLanes>, transform_weights<kLanes>, transform_sums<kLanes>,
          moments<kLanes>,        affine<kLanes>,       correct<kLanes>,           product_sums<kLanes>,
          norm_gradient<kLanes>,  mask<kLanes>,         transpose<kLanes>,         taps_to_lanes<kLanes>,
          lanes_to_taps<kLanes>};
}

}  // namespace

extern const ConvKernels conv8;
extern const ConvKernels conv16;
const ConvKernels conv8 = kernels<8>();
const ConvKernels conv16 = kernels<16>();

}  // namespace resnet_nodes::KERNEL_PATH
