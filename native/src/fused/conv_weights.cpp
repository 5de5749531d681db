#include "fused/conv_weights.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <type_traits>

namespace resnet_nodes {
namespace {

// Weights that one thread reorders at a time.
constexpr int64_t kGrain = 8192;
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

// Whether packed weights of either direction have a place of their own: a function that all steps share is packed once
// for all of them. Large ones share one.
bool has_two_places(const ConvPlan& plan) { return plan.sums_by_parts(); }

}  // namespace

void PackedWeights::prepare(const ConvPlan& plan) {
  key_ = PackedKey();
  places_.resize(std::max(places_.size(), plan.units() * (has_two_places(plan) ? 2 : 1)));
}

template <typename Number>
const Number* PackedWeights::get(const ConvPlan& plan, const ConvKernels<Number>& kernels, const PackedKey& key,
                                 size_t unit, bool transposed, const Tensor& weight) {
  if (!(key == key_)) {
    key_ = key;
    for (Place& place : places_) place.is_ready = false;
  }
  Place& place = places_[has_two_places(plan) ? 2 * unit + (transposed ? 1 : 0) : unit];
  auto* packed = place.weights.grow<Number>(plan.packed_size(unit));
  if (place.is_ready && place.is_transposed == transposed) return packed;
  const ConvUnit& sizes = plan.unit(unit);
  const float* source = data(weight);
  const WeightElements elements(weight, sizes.taps);
  const int64_t lanes = plan.lanes(), square = lanes * lanes, taps = sizes.taps, middle = taps / 2;
  const int64_t in = transposed ? sizes.out : sizes.in, out = transposed ? sizes.in : sizes.out, blocks = in / lanes;
  const int64_t positions = plan.positions(unit);
  const bool winograd = positions > 1;
  const auto square_at = [&](float* room, int64_t first_out, int64_t first_in) -> Square {
    if (elements.are_in_rows()) return {source + elements.place(first_out, first_in, 0), elements.row()};
    for (int64_t o = 0; o < lanes; ++o) {
      for (int64_t i = 0; i < lanes * taps; ++i) {
        room[o * lanes * taps + i] = source[elements.place(first_out + o, first_in + i / taps, i % taps)];
      }
    }
    return {room, lanes * taps};
  };
  const ConvLayouts& layouts = kernels.layouts;
  // From a row, of one reduced channel and all taps of the lanes', to each tap's lanes.
  const auto pack_row = [&](float* to, int64_t position, const float* row) {
    if (taps == 1) {
      for (int64_t lane = 0; lane < lanes; ++lane) to[lane] = row[lane];
    } else if (winograd) {
      float by_tap[16 * kMostLanes];
      layouts.taps_to_lanes(by_tap, row);
      // The input's gradient is a convolution with the taps mirrored.
      layouts.transform_weights(to, position, by_tap + 8 * lanes, -lanes, lanes, positions);
    } else {
      for (int64_t lane = 0; lane < lanes; ++lane) to[lane] = row[lane * taps + middle];
    }
  };
  // One square, whose positions lie so far apart.
  const auto pack = [&](float* to, int64_t position, int64_t of_lanes, int64_t reduced) {
    float room[kSquareRoom], columns[kSquareRoom];
    if (transposed) {
      const Square own = square_at(room, reduced, of_lanes);
      for (int64_t i = 0; i < lanes; ++i) pack_row(to + i * lanes, position, own.first + i * own.row);
      return;
    }
    const Square own = square_at(room, of_lanes, reduced);
    layouts.transpose(taps == 1 ? to : columns, own.first, own.row, lanes * taps);
    for (int64_t i = 0; taps > 1 && i < lanes; ++i) {
      const float* of_input = columns + i * taps * lanes;
      if (winograd) {
        layouts.transform_weights(to + i * lanes, position, of_input, lanes, lanes, positions);
      } else {
        std::copy_n(of_input + middle * lanes, lanes, to + i * lanes);
      }
    }
  };
  const int64_t position = plan.packed_position(unit);
  const int64_t grain = std::max<int64_t>(1, kGrain / (taps * square));
  torch::stable::parallel_for(0, blocks * (out / lanes), grain, [&](int64_t first, int64_t end) {
    for (int64_t index = first; index < end; ++index) {
      const int64_t of_lanes = index / blocks * lanes, reduced = index % blocks * lanes;
      Number* to = packed + index * square;
      if constexpr (std::is_same_v<Number, float>) {
        pack(to, position, of_lanes, reduced);
      } else {
        float squares[16 * kMostLanes * kMostLanes];
        pack(squares, square, of_lanes, reduced);
        for (int64_t p = 0; p < positions; ++p) kernels.pairs.weights(to + p * position, squares + p * square);
      }
    }
  });
  place.is_ready = true;
  place.is_transposed = transposed;
  return packed;
}

template const float* PackedWeights::get(const ConvPlan& plan, const ConvKernels<float>& kernels, const PackedKey& key,
                                         size_t unit, bool transposed, const Tensor& weight);
template const BFloat16* PackedWeights::get(const ConvPlan& plan, const ConvKernels<BFloat16>& kernels,
                                            const PackedKey& key, size_t unit, bool transposed, const Tensor& weight);

void put_weight_gradient(const GradientTarget& to, const ConvPlan& plan, const ConvLayouts& layouts, size_t unit,
                         const TapSums& sums, int64_t parts, int64_t next_part, bool add) {
  const ConvUnit& sizes = plan.unit(unit);
  const int64_t lanes = plan.lanes(), out = sizes.out, rows = sums.in / lanes * out, taps = sizes.taps;
  const bool is_middle_alone = taps == 9 && !plan.is_winograd(unit);
  const WeightElements elements(to.gradient, taps);
  auto* gradient = target(to.gradient);
  const int64_t grain = std::max<int64_t>(1, kGrain / (taps * lanes));
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
