#include "fused/conv_weights.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <type_traits>

namespace resnet_nodes {
namespace {

// Weights that one thread reorders at a time, at least: some microseconds.
constexpr int64_t kGrain = 2048;
constexpr int64_t kMostLanes = 16;

// The elements of a weight tensor, in any layout: [out][in][tap].
class WeightElements {
 public:
  WeightElements(const Tensor& weight, int64_t taps)
      : taps_(taps), out_(weight.stride(0)), in_(weight.stride(1)), row_(weight.stride(2)), column_(weight.stride(3)) {}

  int64_t place(int64_t out, int64_t in, int64_t tap) const {
    return out * out_ + in * in_ + (taps_ == 1 ? 0 : tap / 3 * row_ + tap % 3 * column_);
  }
  int64_t row() const { return out_; }
  /// Whether all taps of an output channel stand in order, input channel by input channel.
  bool are_in_rows() const { return in_ == taps_ && (taps_ == 1 || (row_ == 3 && column_ == 1)); }

 private:
  int64_t taps_, out_, in_, row_, column_;
};

// One square of a weight tensor: rows of an output channel each, [in][tap]. Behind the last there is room to read on.
struct Square {
  const float* first;
  int64_t row;
};
constexpr int64_t kSquareRoom = kMostLanes * kMostLanes * 9 + kMostLanes;

// The packing of one convolution's weights, a square of as many inputs as outputs at a time.
template <typename Number>
class Packing {
 public:
  Packing(const ConvPlan& plan, const ConvKernels<Number>& kernels, size_t unit, bool transposed, const Tensor& weight,
          Number* packed)
      : kernels_(kernels),
        unit_(plan.unit(unit)),
        elements_(weight, unit_.taps),
        source_(data(weight)),
        packed_(packed),
        lanes_(plan.lanes()),
        positions_(plan.positions(unit)),
        position_(plan.packed_position(unit)),
        transposed_(transposed) {}

  int64_t taps() const { return unit_.taps; }
  int64_t squares() const { return unit_.in / lanes_ * (unit_.out / lanes_); }
  void pack(int64_t index) const {
    const int64_t blocks = (transposed_ ? unit_.out : unit_.in) / lanes_, square = lanes_ * lanes_;
    const int64_t of_lanes = index / blocks * lanes_, reduced = index % blocks * lanes_;
    Number* to = packed_ + index * square;
    if constexpr (std::is_same_v<Number, float>) {
      pack_square(to, position_, of_lanes, reduced);
    } else {
      float squares[16 * kMostLanes * kMostLanes];
      pack_square(squares, square, of_lanes, reduced);
      for (int64_t p = 0; p < positions_; ++p) kernels_.pairs.weights(to + p * position_, squares + p * square);
    }
  }

 private:
  Square square_at(float* room, int64_t first_out, int64_t first_in) const {
    if (elements_.are_in_rows()) return {source_ + elements_.place(first_out, first_in, 0), elements_.row()};
    for (int64_t o = 0; o < lanes_; ++o) {
      for (int64_t i = 0; i < lanes_ * taps(); ++i) {
        room[o * lanes_ * taps() + i] = source_[elements_.place(first_out + o, first_in + i / taps(), i % taps())];
      }
    }
    return {room, lanes_ * taps()};
  }
  // From a row, of one reduced channel and all taps of the lanes', to each tap's lanes.
  void pack_row(float* to, int64_t position, const float* row) const {
    if (taps() == 1) {
      for (int64_t lane = 0; lane < lanes_; ++lane) to[lane] = row[lane];
    } else if (positions_ > 1) {
      float by_tap[16 * kMostLanes];
      kernels_.layouts.taps_to_lanes(by_tap, row);
      // The input's gradient is a convolution with the taps mirrored.
      kernels_.layouts.transform_weights(to, position, by_tap + 8 * lanes_, -lanes_, lanes_, positions_);
    } else {
      for (int64_t lane = 0; lane < lanes_; ++lane) to[lane] = row[lane * taps() + taps() / 2];
    }
  }
  // One square, whose positions lie so far apart.
  void pack_square(float* to, int64_t position, int64_t of_lanes, int64_t reduced) const {
    float room[kSquareRoom], columns[kSquareRoom];
    if (transposed_) {
      const Square own = square_at(room, reduced, of_lanes);
      for (int64_t i = 0; i < lanes_; ++i) pack_row(to + i * lanes_, position, own.first + i * own.row);
      return;
    }
    const Square own = square_at(room, of_lanes, reduced);
    kernels_.layouts.transpose(taps() == 1 ? to : columns, own.first, own.row, lanes_ * taps());
    for (int64_t i = 0; taps() > 1 && i < lanes_; ++i) {
      const float* of_input = columns + i * taps() * lanes_;
      if (positions_ > 1) {
        kernels_.layouts.transform_weights(to + i * lanes_, position, of_input, lanes_, lanes_, positions_);
      } else {
        std::copy_n(of_input + taps() / 2 * lanes_, lanes_, to + i * lanes_);
      }
    }
  }

  const ConvKernels<Number>& kernels_;
  const ConvUnit& unit_;
  const WeightElements elements_;
  const float* source_;
  Number* packed_;
  const int64_t lanes_, positions_, position_;
  const bool transposed_;
};

// Whether packed weights of either direction have a place of their own: a function that all steps share is packed once
// for all of them. Large ones share one.
bool has_two_places(const ConvPlan& plan) { return plan.sums_by_parts(); }

// Of so many numbers in steps of `step`, how many start before `end`.
int64_t starts_before(int64_t end, int64_t step) { return std::max<int64_t>(0, (end + step - 1) / step); }

}  // namespace

void PackedWeights::prepare(const ConvPlan& plan) {
  key_ = PackedKey();
  places_.resize(std::max(places_.size(), plan.units() * (has_two_places(plan) ? 2 : 1)));
}

PackedWeights::Place& PackedWeights::place(const ConvPlan& plan, size_t unit, bool transposed) {
  return places_[has_two_places(plan) ? 2 * unit + (transposed ? 1 : 0) : unit];
}

template <typename Number>
void PackedWeights::pack(const ConvPlan& plan, const ConvKernels<Number>& kernels, const PackedKey& key,
                         bool transposed, const std::vector<Tensor>& weights) {
  if (!(key == key_)) {
    key_ = key;
    for (Place& place : places_) place.is_ready = false;
  }
  std::vector<Packing<Number>> missing;
  int64_t all_taps = 0;
  for (size_t unit = 0; unit < plan.units(); ++unit) {
    Place& own = place(plan, unit, transposed);
    if (own.is_ready && own.is_transposed == transposed) continue;
    own.is_ready = false;
    auto* packed = own.weights.template grow<Number>(plan.packed_size(unit));
    missing.emplace_back(plan, kernels, unit, transposed, weights[unit], packed);
    all_taps += missing.back().squares() * missing.back().taps();
  }
  const int64_t grain = std::max<int64_t>(1, kGrain / (plan.lanes() * plan.lanes()));
  torch::stable::parallel_for(0, all_taps, grain, [&](int64_t first, int64_t end) {
    for (const Packing<Number>& packing : missing) {
      // Squares whose first tap is one of these.
      const int64_t last = std::min(packing.squares(), starts_before(end, packing.taps()));
      for (int64_t i = starts_before(first, packing.taps()); i < last; ++i) packing.pack(i);
      first -= packing.squares() * packing.taps();
      end -= packing.squares() * packing.taps();
    }
  });
  for (size_t unit = 0; unit < plan.units(); ++unit) {
    Place& own = place(plan, unit, transposed);
    own.is_ready = true;
    own.is_transposed = transposed;
  }
}

template void PackedWeights::pack(const ConvPlan& plan, const ConvKernels<float>& kernels, const PackedKey& key,
                                  bool transposed, const std::vector<Tensor>& weights);
template void PackedWeights::pack(const ConvPlan& plan, const ConvKernels<BFloat16>& kernels, const PackedKey& key,
                                  bool transposed, const std::vector<Tensor>& weights);

void put_weight_gradient(const GradientTarget& to, const ConvPlan& plan, const ConvLayouts& layouts, size_t unit,
                         const TapSums& sums, int64_t parts, int64_t next_part, bool add) {
  const ConvUnit& sizes = plan.unit(unit);
  const int64_t lanes = plan.lanes(), out = sizes.out, rows = sums.in / lanes * out, taps = sizes.taps;
  const bool is_middle_alone = taps == 9 && !plan.is_winograd(unit);
  const WeightElements elements(to.gradient, taps);
  auto* gradient = target(to.gradient);
  const int64_t grain = std::max<int64_t>(1, kGrain / (taps * lanes * parts));
  torch::stable::parallel_for(0, rows, grain, [&](int64_t first, int64_t end) {
    float totals[9 * kMostLanes] = {}, in_order[9 * kMostLanes];
    for (int64_t row = first; row < end; ++row) {
      const float* values = sums.taps + row * lanes;
      int64_t next_tap = rows * lanes;
      if (parts > 1 || is_middle_alone) {
        for (int64_t tap = 0; tap < (is_middle_alone ? 1 : taps); ++tap) {
          float* total = totals + (is_middle_alone ? 4 : tap) * lanes;
          const float* from = values + tap * next_tap;
          for (int64_t lane = 0; lane < lanes; ++lane) total[lane] = from[lane];
          for (int64_t part = 1; part < parts; ++part) {
            from += next_part;
            for (int64_t lane = 0; lane < lanes; ++lane) total[lane] += from[lane];
          }
        }
        values = totals;
        next_tap = lanes;
      }
      if (taps == 9) {
        layouts.lanes_to_taps(in_order, values, next_tap);
        values = in_order;
      }
      const int64_t o = row % out, in = sums.first + row / out * lanes;
      if (elements.are_in_rows()) {
        float* element = gradient + elements.place(o, in, 0);
        for (int64_t i = 0; i < lanes * taps; ++i) element[i] = add ? element[i] + values[i] : values[i];
      } else {
        for (int64_t i = 0; i < lanes * taps; ++i) {
          float& element = gradient[elements.place(o, in + i / taps, i % taps)];
          element = add ? element + values[i] : values[i];
        }
      }
    }
  });
}

}  // namespace resnet_nodes
