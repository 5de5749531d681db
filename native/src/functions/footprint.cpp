#include "functions/footprint.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "functions/parts.h"
#include "tensors/dispatcher.h"
#include "tensors/layout.h"
#include "tensors/operators.h"

using torch::headeronly::ScalarType;

namespace resnet_nodes {
namespace {

// A value that is written and read takes about as long as this many multiply-adds.
constexpr double kProductsPerValue = 16;

int64_t product_of(const std::vector<int64_t>& sizes, int64_t unit) {
  return std::accumulate(sizes.begin(), sizes.end(), unit, std::multiplies<>());
}

// A tensor of these sizes that takes no memory; nobody reads its values.
Tensor shaped(const Tensor& like, const std::vector<int64_t>& sizes, ScalarType type) {
  const Tensor one = torch::stable::new_empty(like, std::vector<int64_t>{1}, type);
  return call_operator<1>("aten::expand", "", one, sizes, false)[0];
}

Tensor shaped(const Tensor& like, const std::vector<int64_t>& sizes) { return shaped(like, sizes, like.scalar_type()); }

// The outputs of a function's rows, and which of them live at a time.
class Rows {
 public:
  /// Throws Error naming the layer that x does not fit.
  Rows(const LayerTable::Function& function, int64_t n, const Tensor& x)
      : function_(function), input_(x.numel() * static_cast<int64_t>(x.element_size())) {
    const auto element = static_cast<int64_t>(x.element_size());
    std::vector<std::vector<int64_t>> sizes;
    const std::vector<int64_t> given = sizes_of(x);
    for (size_t r = 0; r < function.rows.size(); ++r) {
      const LayerTable::Row& row = function.rows[r];
      const std::vector<int64_t> input = row.input < 0 ? given : sizes[static_cast<size_t>(row.input)];
      row.layer->check_input(shaped(x, input), layer_place(n, r));
      sizes.push_back(row.layer->output_sizes(input));
      bytes_.push_back(product_of(sizes.back(), element));
      // Of a weight, each value of the output takes what belongs to its channel.
      double products = kProductsPerValue;
      if (row.layer->parameter_count() > 0) {
        const std::vector<int64_t> weight = row.layer->parameter_sizes(0);
        const int64_t packed = packed_bytes(row.layer->spec(), shaped(x, input), shaped(x, weight));
        largest_packed_ = std::max(largest_packed_, packed);
        products += static_cast<double>(product_of(weight, 1) / weight.front());
      }
      operations_.push_back(static_cast<double>(bytes_.back() / element) * products);
    }
    output_sizes_ = sizes.back();
  }

  const std::vector<int64_t>& output_sizes() const { return output_sizes_; }
  int64_t output() const { return bytes_.back(); }
  int64_t bytes(int64_t place) const { return place < 0 ? input_ : bytes_[static_cast<size_t>(place)]; }
  double operations() const { return std::accumulate(operations_.begin(), operations_.end(), 0.0); }
  double operations(size_t row) const { return operations_[row]; }

  int64_t tape() const {
    int64_t whole = 0;
    for (size_t r = 0; r < bytes_.size(); ++r) whole += function_.rows[r].is_read_back ? bytes_[r] : 0;
    return whole;
  }

  /// Of an evaluation; rows that a product reads stay, if they are kept.
  int64_t widest_evaluation(bool keeps) const {
    int64_t live = 0, widest = 0;
    std::vector<bool> gone(bytes_.size());
    for (size_t r = 0; r < bytes_.size(); ++r) {
      live += bytes_[r];
      widest = std::max(widest, live + scratch(r));
      for (size_t i = 0; i <= r; ++i) {
        const LayerTable::Row& row = function_.rows[i];
        if (gone[i] || (keeps && row.is_read_back) || row.last_reader > static_cast<int64_t>(r)) continue;
        gone[i] = true;
        live -= bytes_[i];
      }
    }
    return widest + largest_packed_;
  }

  /// Of a product with a tape of all rows, which it lets go of on its way; beyond that tape.
  int64_t widest_product() const {
    std::vector<int64_t> cotangents(bytes_.size() + 1);
    // A step's cotangent is scaled first.
    int64_t live = cotangents.back() = bytes_.back();
    int64_t widest = live;
    for (size_t r = bytes_.size(); r-- > 0;) {
      const LayerTable::Row& row = function_.rows[r];
      for (const int64_t to : {row.input, row.takes_two ? row.other : row.input}) {
        int64_t& cotangent = cotangents[static_cast<size_t>(to + 1)];
        widest = std::max(widest, live + bytes(to) + scratch(r));
        if (cotangent == 0) live += cotangent = bytes(to);
      }
      live -= cotangents[r + 1] + (row.is_read_back ? bytes_[r] : 0);
    }
    // base + gradient.
    // A weight, and its gradient before it is added to the others.
    return std::max(widest, live + input_) + 2 * largest_packed_;
  }

 private:
  // What is packed of a weight, or computed of its gradient, at a time.
  static int64_t packed_bytes(const LayerSpec& spec, const Tensor& x, const Tensor& weight) {
    const bool sliced = spec.kind == LayerKind::conv2d && is_sliced(x, weight, spec);
    return static_cast<int64_t>(x.element_size()) * (sliced ? 2 * kLargeWeight : weight.numel());
  }

  // Of a maximum, its places are told in 8 bytes each.
  int64_t scratch(size_t r) const {
    return function_.rows[r].layer->spec().kind == LayerKind::max_pool2d ? 2 * bytes_[r] : 0;
  }

  const LayerTable::Function& function_;
  int64_t input_;
  int64_t largest_packed_ = 0;
  std::vector<int64_t> output_sizes_, bytes_;
  std::vector<double> operations_;
};

// The cotangents of all images that wait between the levels of a product: those of one level are read as the next ones
// are written. That of the function's output is the caller's, and both branches of a sum have one.
int64_t cotangents_between(const LayerTable::Function& function, const Rows& rows, const Parts& parts) {
  std::vector<int64_t> left(static_cast<size_t>(parts.level_count) + 1);
  for (size_t r = 0; r + 1 < function.rows.size(); ++r) {
    if (!parts.barriers[r]) continue;
    const auto reader = static_cast<size_t>(function.rows[r].last_reader);
    const bool is_second = reader < function.rows.size() && function.rows[reader].takes_two &&
                           function.rows[reader].other == static_cast<int64_t>(r);
    if (!is_second) left[static_cast<size_t>(parts.levels[r])] += rows.bytes(static_cast<int64_t>(r));
  }
  int64_t most = 0;
  for (size_t level = 0; level + 1 < left.size(); ++level) most = std::max(most, left[level] + left[level + 1]);
  return most;
}

void add_parts(Footprint& found, const LayerTable::Function& function, const Rows& rows, const Parts& parts) {
  for (size_t r = 0; r < function.rows.size(); ++r) {
    if (parts.keeps[r + 1]) {
      found.replayed_tape += rows.bytes(static_cast<int64_t>(r));
    } else {
      found.repeated += rows.operations(r) / rows.operations();
    }
  }
  const int64_t part = (rows.widest_evaluation(true) + rows.widest_product()) * parts.images / parts.batch;
  found.from_replay = found.replayed_tape + cotangents_between(function, rows, parts) + part + found.input;
}

// Bytes of one number a pixel and channel of images like x, in its type.
int64_t image_bytes(const Tensor& x, int64_t channels) {
  return x.size(0) * x.size(2) * x.size(3) * channels * static_cast<int64_t>(x.element_size());
}

// What the convolutions of a fused chain give, in the type that its layers compute in.
int64_t value_bytes(const ConvChain& chain, const Tensor& input) {
  int64_t channels = 0;
  for (const ConvUnit& unit : chain.units) channels += unit.out;
  return image_bytes(input, channels);
}

// The gradients between its units: one goes from the last to the next, and two take turns where there are more.
int64_t gradient_bytes(const ConvChain& chain, const Tensor& x) {
  return std::min<int64_t>(2, static_cast<int64_t>(chain.units.size()) - 1) *
         image_bytes(x, chain.most_inner_channels());
}

}  // namespace

Footprint footprint_of(const LayerTable& table, int64_t n, const Tensor& x, int64_t tape_bytes) {
  const LayerTable::Function& function = table.function(n);
  const auto state = static_cast<int64_t>(x.element_size());
  // As its layers see it.
  const Tensor input = table.is_mixed() ? shaped(x, sizes_of(x), ScalarType::BFloat16) : x;
  const Rows rows(function, n, input);
  Footprint found;
  found.output_sizes = rows.output_sizes();
  found.input = x.numel() * state;
  found.output = product_of(found.output_sizes, state);
  found.operations = rows.operations();
  found.tape_holds_input = function.reads_input_back;
  if (const Fusion fusion = table.fusion(n, x); fusion != Fusion::none) {
    // What stands behind each convolution, or the hidden numbers; the rest goes some images at a time.
    const bool is_mlp = fusion == Fusion::mlp;
    const int64_t values = is_mlp ? rows.bytes(0) : value_bytes(function.chain, input);
    const int64_t gradients = is_mlp ? found.output : gradient_bytes(function.chain, x);
    const int64_t evaluation = is_mlp ? 2 * found.output : values;
    found.tape = found.replayed_tape = values;
    found.evaluation = evaluation;
    found.taping = evaluation + found.output;
    found.from_tape = gradients + found.output;
    found.from_replay = evaluation + gradients + 2 * found.output;
    found.tape_holds_input = true;
    return found;
  }
  // Mixed precision casts the input and the output.
  const int64_t casts = table.is_mixed() ? found.input / 2 + found.output : 0;
  found.evaluation = rows.widest_evaluation(false) + casts;
  found.taping = rows.widest_evaluation(true) + casts;
  found.tape = rows.tape() + (table.is_mixed() ? found.input / 2 : 0);
  found.from_tape = rows.widest_product() + casts;
  std::vector<bool> uses_batch;
  for (const LayerTable::Row& row : function.rows) uses_batch.push_back(row.statistics >= 0);
  const Parts parts = parts_of(function, input, tape_bytes, uses_batch);
  if (parts.is_whole()) {
    found.replayed_tape = found.tape;
    found.from_replay = std::max(found.taping, found.tape + found.from_tape);
  } else {
    add_parts(found, function, rows, parts);
    found.from_replay += casts;
  }
  return found;
}

}  // namespace resnet_nodes
