#include "fused/conv_block.h"

#include <limits>
#include <type_traits>

#include "tensors/active_kernels.h"
#include "tensors/elementwise.h"
#include "tensors/layout.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

bool is_dense_state(const Tensor& x) {
  const int64_t c = x.size(1), h = x.size(2), w = x.size(3);
  return x.stride(1) == 1 && (w == 1 || x.stride(3) == c) && (h == 1 || x.stride(2) == w * c) &&
         (x.size(0) == 1 || x.stride(0) == h * w * c);
}

template <typename Number>
const ConvKernels<Number>& kernels_for(const ConvChain& chain) {
  const KernelPath& path = active_kernels();
  if constexpr (std::is_same_v<Number, float>) {
    return chain.fills_blocks_of(16) ? path.conv16 : path.conv8;
  } else {
    return *path.conv16_bfloat16;
  }
}

template <typename Number>
constexpr ScalarType kTypeOf = std::is_same_v<Number, float> ? ScalarType::Float : ScalarType::BFloat16;

}  // namespace

bool fuses_conv_block(const Tensor& x, const ConvChain& chain, bool narrow) {
  if (narrow && (active_kernels().conv16_bfloat16 == nullptr || !chain.fills_blocks_of(16))) return false;
  if (!x.is_cpu() || x.scalar_type() != ScalarType::Float || x.dim() != 4 || x.size(1) != chain.channels())
    return false;
  // A single value a channel has no statistics: the operators say so.
  return x.size(0) * x.size(2) * x.size(3) >= 2;
}

std::string conv_block_path_name(const ConvChain& chain, bool narrow) {
  std::string name = "fused ";
  int64_t most = 0, least = chain.channels();
  for (const ConvUnit& unit : chain.units) {
    if (&unit != &chain.units.front()) name.append("-");
    name.append(unit.taps == 9 ? "conv3x3" : "conv1x1");
    most = std::max(most, unit.in);
    least = std::min(least, unit.in);
  }
  name.append(", ").append(std::to_string(most));
  if (least < most) name.append("/").append(std::to_string(least));
  return name.append(" channels, ").append(active_kernels().name).append(narrow ? ", bfloat16" : "");
}

template <typename Number>
ConvBlock<Number>::ConvBlock(ConvWorkspace& workspace, const ConvBlockCall& call, const Tensor& x)
    : workspace_(workspace), call_(call), kernels_(kernels_for<Number>(*call.chain)) {
  workspace_.prepare(ConvPlan(*call.chain, x.size(0), x.size(2), x.size(3), kDepth<Number>));
}

template <typename Number>
Tensor ConvBlock<Number>::dense(const Tensor& x) {
  return is_dense_state(x) ? x : state_layout(x);
}

template <typename Number>
std::vector<int64_t> ConvBlock<Number>::value_counts() const {
  std::vector<int64_t> counts;
  for (size_t i = 0; i < units(); ++i) counts.push_back(workspace_.plan().pixels() * channels(i));
  return counts;
}

// What a unit's convolution gives, of the whole batch.
template <typename Number>
Number* ConvBlock<Number>::values(size_t unit, FusedTape* tape) const {
  return tape != nullptr ? target<Number>(tape->values[unit]) : workspace_.template values<Number>(unit);
}

template <typename Number>
void ConvBlock<Number>::pack(bool transposed) const {
  std::vector<Tensor> weights;
  for (const ConvBlockCall::Unit& unit : call_.units) weights.push_back(unit.convolution.parameters[0]);
  workspace_.packed().pack(workspace_.plan(), kernels(), call_.key, transposed, weights);
}

template <typename Number>
const Number* ConvBlock<Number>::packed(size_t unit, bool transposed) const {
  return workspace_.packed().template of<Number>(workspace_.plan(), unit, transposed);
}

template <typename Number>
typename ConvBlock<Number>::Convolution ConvBlock<Number>::convolution(size_t unit) const {
  const ConvBlockCall::Unit& own = call_.units[unit];
  float* bias = nullptr;
  if (own.has_bias) {
    bias = workspace_.bias(unit);
    const Numbers numbers(own.convolution.parameters[1]);
    for (int64_t c = 0; c < channels(unit); ++c) bias[c] = numbers[c];
  }
  return {packed(unit, false), bias};
}

template <typename Number>
bool ConvBlock<Number>::uses_any_batch() const {
  for (size_t i = 0; i < units(); ++i) {
    if (uses_batch(i)) return true;
  }
  return false;
}

// What the unit's convolution reads: the block's input, or the normalization before, through a ReLU.
template <typename Number>
void ConvBlock<Number>::activate(size_t unit, Number* blocked, const float* state, const Number* before,
                                 const ConvShape& shape) const {
  if (unit == 0) {
    const float floor = call_.chain->starts_with_relu ? 0.0f : -std::numeric_limits<float>::infinity();
    kernels().block(blocked, state, floor, shape);
  } else {
    const Norm norm = this->norm(unit - 1);
    kernels().affine_relu(blocked, before, norm.scale, norm.shift, shape);
  }
}

template <typename Number>
void ConvBlock<Number>::convolve(size_t unit, const Convolution& by, const ConvGroup& group, const Number* blocked,
                                 Slot& slot, const ConvShare& share, Number* out) const {
  ConvPass pass = workspace_.plan().pass(unit, group.images);
  const int64_t first = workspace_.plan().take_share(pass, share);
  if (pass.out.channels == 0) return;
  kernels().convolve(out + first, blocked, by.weights + first * pass.in.channels,
                     by.bias != nullptr ? by.bias + first : nullptr, slot.scratch.data(), pass);
}

// Fills `to`, the values of a unit, and calls after(group) behind each group.
template <typename Number>
template <typename After>
void ConvBlock<Number>::convolve_all(size_t unit, const Convolution& by, const float* state, const Number* before,
                                     Number* to, const After& after) {
  const ConvPlan& plan = workspace_.plan();
  const int64_t in = plan.unit(unit).in;
  workspace_.for_groups(
      0, plan.parts(),
      [&](const ConvGroup& group, Slot& home, Slot&) {
        const int64_t first = group.first_pixel * in;
        activate(unit, workspace_.blocked<Number>(home, 0, unit), state + first,
                 before != nullptr ? before + first : nullptr, plan.pass(unit, group.images).in);
      },
      [&](const ConvGroup& group, Slot& home, Slot& slot, const ConvShare& share) {
        convolve(unit, by, group, workspace_.blocked<Number>(home, 0, unit), slot, share,
                 to + group.first_pixel * channels(unit));
      },
      [&](const ConvGroup& group, Slot&, Slot&) { after(group); });
}

template <typename Number>
Tensor ConvBlock<Number>::forward(const Tensor& base_state, const Tensor& state, double a, FusedTape* tape) {
  if (!uses_any_batch()) return replay(base_state, state, a, tape);
  const Tensor x = dense(state), base = base_state.defined() ? dense(base_state) : Tensor();
  const ConvPlan& plan = workspace_.plan();
  const Tensor out = call_.states->like(x);
  if (tape != nullptr) tape->keep(x, value_counts(), kTypeOf<Number>);
  pack(false);
  const Number* before = nullptr;
  int64_t in = plan.chain().channels();
  for (size_t i = 0; i < units(); ++i) {
    Number* to = values(i, tape);
    const int64_t own = channels(i);
    convolve_all(i, convolution(i), data(x), before, to, [&](const ConvGroup& group) {
      float* sums = workspace_.sums() + group.index * 2 * own;
      kernels().moments(sums, sums + own, to + group.first_pixel * own, plan.dense(own, group.images));
    });
    if (uses_batch(i)) {
      batch_norm(i);
    } else {
      load_norm(i);
    }
    before = to;
    in = own;
  }
  const Norm step = scaled(units() - 1, a);
  workspace_.for_groups([&](const ConvGroup& group, Slot&) {
    const int64_t first = group.first_pixel * in;
    kernels().affine(target(out) + first, base.defined() ? data(base) + first : nullptr, before + first, step.scale,
                     step.shift, plan.dense(in, group.images));
  });
  return out;
}

// f at x with known statistics, some images at a time: nothing crosses images. finish(group, value) takes what the last
// convolution gave.
template <typename Number>
template <typename Finish>
void ConvBlock<Number>::evaluate(const Tensor& x, FusedTape* tape, const Finish& finish) {
  if (tape != nullptr) tape->keep(x, value_counts(), kTypeOf<Number>);
  pack(false);
  std::vector<Convolution> by;
  for (size_t i = 0; i < units(); ++i) {
    by.push_back(convolution(i));
    load_norm(i);
  }
  const ConvPlan& plan = workspace_.plan();
  if (workspace_.shares() > 1) {
    const Number* before = nullptr;
    for (size_t i = 0; i < units(); ++i) {
      Number* to = values(i, tape);
      convolve_all(i, by[i], data(x), before, to, [&](const ConvGroup& group) {
        if (i + 1 == units()) finish(group, to + group.first_pixel * channels(i));
      });
      before = to;
    }
    return;
  }
  const int64_t group_pixels = plan.group_images() * plan.image_pixels();
  workspace_.for_groups([&](const ConvGroup& group, Slot& slot) {
    const float* state = data(x) + group.first_pixel * plan.chain().channels();
    const Number* before = nullptr;
    for (size_t i = 0; i < units(); ++i) {
      Number* to = tape != nullptr ? target<Number>(tape->values[i]) + group.first_pixel * channels(i)
                                   : slot.values[i].template grow<Number>(group_pixels * channels(i));
      auto* blocked = workspace_.blocked<Number>(slot, 0, i);
      activate(i, blocked, state, before, plan.pass(i, group.images).in);
      convolve(i, by[i], group, blocked, slot, ConvShare(), to);
      before = to;
    }
    finish(group, before);
  });
}

template <typename Number>
Tensor ConvBlock<Number>::replay(const Tensor& base_state, const Tensor& state, double a, FusedTape* tape) {
  const Tensor x = dense(state), base = base_state.defined() ? dense(base_state) : Tensor();
  const int64_t own = workspace_.plan().chain().channels();
  const Tensor out = call_.states->like(x);
  load_norm(units() - 1);
  const Norm step = scaled(units() - 1, a);
  evaluate(x, tape, [&](const ConvGroup& group, const Number* value) {
    const int64_t first = group.first_pixel * own;
    kernels().affine(target(out) + first, base.defined() ? data(base) + first : nullptr, value, step.scale, step.shift,
                     workspace_.plan().dense(own, group.images));
  });
  return out;
}

template <typename Number>
Corrected ConvBlock<Number>::correct(const Tensor& y_state, const Tensor& predicted_state, double a, bool keep_slope,
                                     const Tensor& cotangent_state, FusedTape& tape) {
  const Tensor y = dense(y_state), predicted = dense(predicted_state), cotangent = dense(cotangent_state);
  const ConvPlan& plan = workspace_.plan();
  const int64_t own = plan.chain().channels();
  Corrected result{call_.states->like(y), keep_slope ? call_.states->like(y) : Tensor(), {}};
  const Norm last = norm(units() - 1);
  std::vector<StepNorms> norms(static_cast<size_t>(plan.groups()));
  float* sums = tape.sums.resize(plan.groups() * 2 * own);
  evaluate(predicted, &tape, [&](const ConvGroup& group, const Number* value) {
    const int64_t first = group.first_pixel * own;
    norms[static_cast<size_t>(group.index)] = kernels().correct(
        target(result.state) + first, keep_slope ? target(result.slope) + first : nullptr, data(y) + first,
        data(predicted) + first, value, last.scale, last.shift, a, plan.dense(own, group.images));
    product_sums(units() - 1, group, data(cotangent) + first, value, sums);
  });
  tape.has_sums = true;
  result.norms = sum_of(norms);
  return result;
}

template class ConvBlock<float>;
template class ConvBlock<BFloat16>;

}  // namespace resnet_nodes
