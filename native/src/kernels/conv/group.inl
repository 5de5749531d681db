// group.inl: the loops of a group of images, once, over the compiler's vector types. Part of conv.inl.
#include "kernels/conv/products.inl"

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

template <int64_t kLanes, int64_t kStrip, typename Number>
[[gnu::always_inline]] inline Strip<kLanes, kStrip> loaded(const Number* p) {
  Strip<kLanes, kStrip> strip;
  each<kStrip>([&](int64_t v) { strip[v] = numbers_at<kLanes>(p + v * Block<kLanes>::kWidth); });
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
template <int64_t kLanes, int64_t kStrip, typename Number>
struct Blocked {
  Number* first[kStrip];

  Blocked(Number* blocked, int64_t channel, const ConvShape& shape) {
    for (int64_t v = 0; v < kStrip; ++v) {
      const int64_t c = channel + v * Block<kLanes>::kWidth;
      first[v] = blocked + c / kLanes * shape.block + c % kLanes;
    }
  }
};

template <int64_t kLanes, typename Number>
void block(Number* blocked, const float* dense, float floor, const ConvShape& shape) {
  for_strips<kLanes>(shape, [&]<int64_t kStrip>(int64_t channel) {
    const Blocked<kLanes, kStrip, Number> to(blocked, channel, shape);
    const Vector<kLanes> least = Vector<kLanes>{} + floor;
    for_runs<kLanes>(shape, [&](int64_t from, int64_t place, int64_t pixels) {
      const float* x = dense + channel + from;
      for (int64_t k = 0; k < pixels; ++k, x += shape.channels, place += kLanes) {
        const auto values = loaded<kLanes, kStrip>(x);
        // Not a number stays one, as it does in LibTorch.
        each<kStrip>(
            [&](int64_t v) { put_numbers<kLanes>(to.first[v] + place, values[v] < least ? least : values[v]); });
      }
    });
  });
}

template <int64_t kLanes, typename Number>
void affine_relu(Number* blocked, const Number* x, const float* scale, const float* shift, const ConvShape& shape) {
  for_strips<kLanes>(shape, [&]<int64_t kStrip>(int64_t channel) {
    const Blocked<kLanes, kStrip, Number> to(blocked, channel, shape);
    const auto a = loaded<kLanes, kStrip>(scale + channel), b = loaded<kLanes, kStrip>(shift + channel);
    const Vector<kLanes> zero{};
    for_runs<kLanes>(shape, [&](int64_t from, int64_t place, int64_t pixels) {
      const Number* values = x + channel + from;
      for (int64_t k = 0; k < pixels; ++k, values += shape.channels, place += kLanes) {
        const auto own = loaded<kLanes, kStrip>(values);
        each<kStrip>([&](int64_t v) {
          const Vector<kLanes> z = a[v] * own[v] + b[v];
          put_numbers<kLanes>(to.first[v] + place, z < zero ? zero : z);
        });
      }
    });
  });
}

template <int64_t kLanes, typename Number>
void moments(float* mean, float* squares, const Number* x, const ConvShape& shape) {
  const float share = 1.0f / static_cast<float>(shape.images * shape.height * shape.width);
  for (int pass = 0; pass < 2; ++pass) {
    for_strips<kLanes>(shape, [&]<int64_t kStrip>(int64_t channel) {
      Strip<kLanes, kStrip> total{}, average{};
      if (pass == 1) average = loaded<kLanes, kStrip>(mean + channel);
      for_runs<kLanes>(shape, [&](int64_t from, int64_t, int64_t pixels) {
        const Number* values = x + channel + from;
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

template <int64_t kLanes, typename Number>
void affine(float* out, const float* base, const Number* x, const float* scale, const float* shift,
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

template <int64_t kLanes, typename Number>
StepNorms correct(float* state, float* slope, const float* y, const float* predicted, const Number* x,
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

template <int64_t kLanes, typename Number>
void product_sums(float* sum, float* product, const float* g, const Number* x, const float* mean,
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

template <int64_t kLanes, typename Number>
void norm_gradient(Number* blocked, float* sum, const float* g, const Number* x, const float* mean, const float* by_g,
                   const float* by_x, const float* shift, const ConvShape& shape) {
  for_strips<kLanes>(shape, [&]<int64_t kStrip>(int64_t channel) {
    const Blocked<kLanes, kStrip, Number> to(blocked, channel, shape);
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
          put_numbers<kLanes>(to.first[v] + place, result);
        });
      }
      each<kStrip>([&](int64_t v) { sums[v] += row[v]; });
    });
    store<kLanes, kStrip>(sum + channel, sums);
  });
}

template <int64_t kLanes, typename Number>
void mask(float* out, const float* base, const float* g, const Number* activation, const ConvShape& shape) {
  for_strips<kLanes>(shape, [&]<int64_t kStrip>(int64_t channel) {
    const Blocked<kLanes, kStrip, const Number> active(activation, channel, shape);
    const Vector<kLanes> zero{};
    for_runs<kLanes>(shape, [&](int64_t from, int64_t place, int64_t pixels) {
      for (int64_t k = 0, i = channel + from; k < pixels; ++k, i += shape.channels, place += kLanes) {
        auto value = loaded<kLanes, kStrip>(g + i);
        each<kStrip>(
            [&](int64_t v) { value[v] = numbers_at<kLanes>(active.first[v] + place) > zero ? value[v] : zero; });
        if (base != nullptr) {
          const auto own = loaded<kLanes, kStrip>(base + i);
          each<kStrip>([&](int64_t v) { value[v] += own[v]; });
        }
        store<kLanes, kStrip>(out + i, value);
      }
    });
  });
}

template <int64_t kLanes, typename Number>
constexpr ConvKernels<Number> kernels(const ConvLayouts& layouts, const PairKernels<Number>& pairs) {
  return {layouts,
          pairs,
          block<kLanes, Number>,
          affine_relu<kLanes, Number>,
          convolve<kLanes, Number>,
          convolve_back<kLanes, Number>,
          input_tiles<kLanes, Number>,
          gradient_tiles<kLanes, Number>,
          sum_products<kLanes, Number>,
          moments<kLanes, Number>,
          affine<kLanes, Number>,
          correct<kLanes, Number>,
          product_sums<kLanes, Number>,
          norm_gradient<kLanes, Number>,
          mask<kLanes, Number>};
}
