// conv_block_product.cpp: the vector-Jacobian product of a fused function, unit by unit from the last to the first.
#include <algorithm>

#include "fused/conv_block.h"
#include "tensors/layout.h"

namespace resnet_nodes {
namespace {

// Blocks of input channels whose weight gradient one thread sums up at a time: what the loops hold in registers.
constexpr int64_t kChunkBlocks = 2;

}  // namespace

// Sums of g and of g (value - mean) over a group, of a unit's output.
template <typename Number>
void ConvBlock<Number>::product_sums(size_t unit, const ConvGroup& group, const float* g, const Number* value,
                                     float* sums) const {
  const int64_t own = channels(unit);
  float* of_group = sums + group.index * 2 * own;
  kernels().product_sums(of_group, of_group + own, g, value, norm(unit).mean,
                         workspace_.plan().dense(own, group.images));
}

template <typename Number>
Tensor ConvBlock<Number>::vjp(const Tensor& base_state, const Tensor& cotangent_state, double a, FusedTape& tape) {
  const Tensor cotangent = dense(cotangent_state), base = base_state.defined() ? dense(base_state) : Tensor();
  const ConvPlan& plan = workspace_.plan();
  const size_t last = units() - 1;
  const Tensor out = call_.states->like(cotangent);
  for (size_t i = 0; i < units(); ++i) load_norm(i);
  pack(true);
  const float* g = data(cotangent);
  if (!tape.has_sums) {
    float* sums = tape.sums.resize(plan.groups() * 2 * channels(last));
    workspace_.for_groups([&](const ConvGroup& group, Slot&) {
      const int64_t first = group.first_pixel * channels(last);
      product_sums(last, group, g + first, data<Number>(tape.values[last]) + first, sums);
    });
  }
  tape.has_sums = false;
  const float* sums = tape.sums.data();
  for (size_t unit = units(); unit-- > 0;) {
    const bool is_first = unit == 0;
    Back back{unit,
              g,
              data(tape.x),
              is_first ? nullptr : data<Number>(tape.values[unit - 1]),
              data<Number>(tape.values[unit]),
              is_first ? target(out) : workspace_.gradient(unit),
              is_first && base.defined() ? data(base) : nullptr,
              norm_gradient(unit, unit == last ? a : 1.0, sums),
              packed(unit, true)};
    go_back(back);
    g = back.to;
    sums = workspace_.sums();
  }
  return out;
}

// The gradients of the unit's inputs, for the groups of some parts. place(group, home) says where a group's blocked
// tensors go, which after(group, blocked, slot) finds.
template <typename Number>
template <typename Place, typename After>
void ConvBlock<Number>::input_gradients(const Back& back, int64_t first_part, int64_t end_part, const Place& place,
                                        const After& after) {
  const ConvPlan& plan = workspace_.plan();
  const ConvUnit& sizes = plan.unit(back.unit);
  const bool masked = masks(back.unit), wants_weight = call_.units[back.unit].weight.gradient.defined();
  const auto before_of = [&](const ConvGroup& group) {
    return back.unit > 0 ? back.before + group.first_pixel * sizes.in : nullptr;
  };
  workspace_.for_groups(
      first_part, end_part,
      [&](const ConvGroup& group, Slot& home, Slot&) {
        const Blocked own = place(group, home);
        const int64_t out = group.first_pixel * sizes.out;
        float* bias_sums = workspace_.bias_sums(group.part);
        if (group.starts_part) std::fill_n(bias_sums, sizes.out, 0.0f);
        kernels().norm_gradient(own.gradient, bias_sums, back.g + out, back.value + out, norm(back.unit).mean,
                                back.norm.by_g, back.norm.by_x, back.norm.constant, own.pass.out);
        if (masked || wants_weight) {
          activate(back.unit, own.activation, back.state + group.first_pixel * sizes.in, before_of(group), own.pass.in);
        }
      },
      [&](const ConvGroup& group, Slot& home, Slot& slot, const ConvShare& share) {
        const Blocked own = place(group, home);
        ConvPass pass = plan.back_pass(back.unit, group.images, own.pass.out.block);
        const int64_t first = plan.take_share(pass, share), in = group.first_pixel * sizes.in + first;
        if (pass.out.channels == 0) return;
        kernels().convolve_back(back.to + in, own.gradient, back.weights + first * sizes.out,
                                masked || back.base == nullptr ? nullptr : back.base + in, slot.scratch.data(), pass);
      },
      [&](const ConvGroup& group, Slot& home, Slot& slot) {
        const Blocked own = place(group, home);
        const int64_t in = group.first_pixel * sizes.in;
        float* to = back.to + in;
        if (masked) {
          kernels().mask(to, back.base != nullptr ? back.base + in : nullptr, to, own.activation, own.pass.in);
        }
        if (back.unit > 0) product_sums(back.unit - 1, group, to, before_of(group), workspace_.sums());
        after(group, own, slot);
      });
}

template <typename Number>
typename ConvBlock<Number>::Blocked ConvBlock<Number>::blocked(const Back& back, const ConvGroup& group,
                                                               Slot& home) const {
  return {workspace_.blocked<Number>(home, 1, back.unit), workspace_.blocked<Number>(home, 0, back.unit),
          workspace_.plan().pass(back.unit, group.images)};
}

template <typename Number>
void ConvBlock<Number>::go_back(const Back& back) {
  const ConvPlan& plan = workspace_.plan();
  const ConvBlockCall::Unit& own = call_.units[back.unit];
  const bool wants_weight = own.weight.gradient.defined();
  if (wants_weight && !plan.sums_by_parts()) {
    go_back_by_channels(back);
  } else {
    const int64_t weights = plan.unit(back.unit).taps * plan.unit(back.unit).in * plan.unit(back.unit).out;
    if (wants_weight) workspace_.part_sums().grow(plan.parts() * weights);
    input_gradients(
        back, 0, plan.parts(), [&](const ConvGroup& group, Slot& home) { return blocked(back, group, home); },
        [&](const ConvGroup& group, const Blocked& of_group, Slot& slot) {
          if (wants_weight) sum_by_part(back, group, slot, of_group);
        });
    if (wants_weight) {
      put_weight_gradient(own.weight, plan, kernels().layouts, back.unit,
                          {workspace_.part_sums().data(), 0, plan.unit(back.unit).in}, plan.parts(), weights,
                          own.weight.add);
    }
  }
  if (!own.bias.gradient.defined()) return;
  std::vector<double> total(static_cast<size_t>(channels(back.unit)));
  for (int64_t part = 0; part < plan.parts(); ++part) add_to(total, workspace_.bias_sums(part));
  put(own.bias, total);
}

// So many tiles as a weight gradient multiplies them: in a place of their own where that is in pairs.
template <typename Number>
const Number* ConvBlock<Number>::factor(size_t which, const Number* tiles, TileShape& shape, int64_t positions,
                                        int64_t channels, int64_t count, Slot& slot) const {
  if (kernels().pairs.tiles == nullptr) return tiles;
  const TileShape own = workspace_.plan().tile_shape(channels, count);
  auto* pairs = slot.pairs[which].template grow<Number>(positions * own.position);
  kernels().pairs.tiles(pairs, own, tiles, shape, positions, channels / workspace_.plan().lanes(), count);
  shape = own;
  return pairs;
}

// Adds a group's products to the sums of its part.
template <typename Number>
void ConvBlock<Number>::sum_by_part(const Back& back, const ConvGroup& group, Slot& slot, const Blocked& blocked) {
  const ConvPlan& plan = workspace_.plan();
  const ConvUnit& sizes = plan.unit(back.unit);
  const auto& [gradient, activation, pass] = blocked;
  float* of_part = workspace_.part_sums().data() + group.part * sizes.taps * sizes.in * sizes.out;
  SumShape shape{{}, plan.positions(back.unit), sizes.in, sizes.out, 0, {}, {}};
  const auto add = [&](float* sums, const Number* inputs, TileShape input_tiles, const Number* gradients,
                       TileShape gradient_tiles, const TileCounts& tiles, bool adds) {
    inputs = factor(0, inputs, input_tiles, shape.positions, sizes.in, tiles.of[0][0], slot);
    gradients = factor(1, gradients, gradient_tiles, shape.positions, sizes.out, tiles.of[0][0], slot);
    shape.tiles = tiles;
    shape.inputs = input_tiles;
    shape.gradients = gradient_tiles;
    kernels().sum_products(sums, inputs, gradients, adds, shape);
  };
  if (!plan.is_winograd(back.unit)) {
    add(of_part, activation, {0, pass.in.block}, gradient, {0, pass.out.block}, plan.tiles_of(back.unit, group.images),
        !group.starts_part);
    return;
  }
  const int64_t count = sizes.in * sizes.out;
  shape.position = odd_lines(count);
  float* sums = slot.sums.grow(shape.positions * shape.position);
  auto* inputs = slot.scratch.data<Number>();
  Number* gradients = inputs + pass.positions * pass.inputs.position;
  const int64_t rows = group.images * pass.grid.rows;
  for (int64_t first = 0; first < rows; first += pass.band) {
    const TileRows band{first, std::min(pass.band, rows - first)};
    kernels().input_tiles(inputs, activation, band, pass.inputs, pass);
    kernels().gradient_tiles(gradients, gradient, band, pass.outputs, pass);
    add(sums, inputs, pass.inputs, gradients, pass.outputs, count_tiles(pass.grid, band.first, band.count),
        !group.starts_part || first > 0);
  }
  if (group.ends_part) kernels().layouts.transform_sums(of_part, count, sums, shape.position, count, shape.positions);
}

// Where weights are many: first the input's gradient of a span of groups, which leaves its tiles, then the products of
// these by channels, so that no thread has sums of its own.
template <typename Number>
void ConvBlock<Number>::go_back_by_channels(const Back& back) {
  const ConvPlan& plan = workspace_.plan();
  const ConvUnit& sizes = plan.unit(back.unit);
  const int64_t positions = plan.positions(back.unit);
  const int64_t of_group = plan.room_of(plan.tiles_of(back.unit, plan.group_images()).of[0][0]);
  const int64_t most_tiles = plan.span_groups() * of_group;
  // Blocked pixels that are multiplied one by one stand as a weight gradient takes them.
  const bool are_tiles = !plan.is_winograd(back.unit) && kernels().pairs.tiles == nullptr;
  Span span{nullptr,  nullptr, plan.tile_shape(sizes.in, most_tiles), plan.tile_shape(sizes.out, most_tiles),
            of_group, {}};
  auto* all_inputs = workspace_.span_tiles(0).grow<Number>(positions * span.input_tiles.position);
  auto* all_gradients = workspace_.span_tiles(1).grow<Number>(positions * span.gradient_tiles.position);
  span.inputs = all_inputs;
  span.gradients = all_gradients;
  for (int64_t first = 0; first < plan.groups(); first += plan.span_groups()) {
    const int64_t end = std::min(first + plan.span_groups(), plan.groups()), last = end - 1;
    input_gradients(
        back, first, end,
        [&](const ConvGroup& group, Slot& home) {
          if (!are_tiles) return blocked(back, group, home);
          const int64_t place = (group.index - first) * of_group * plan.lanes();
          return Blocked{all_gradients + place, all_inputs + place,
                         plan.pass(back.unit, group.images, span.input_tiles.block)};
        },
        [&](const ConvGroup& group, const Blocked& own, Slot& slot) {
          if (!are_tiles) put_tiles(back, group.index - first, slot, span, own, all_inputs, all_gradients);
        });
    const int64_t images_before = (last - first) * plan.group_images(), images = plan.images_of(last);
    span.tiles = plan.tiles_of(back.unit, images_before + images);
    // Pairs are whole in each group.
    span.tiles.of[0][0] = (last - first) * of_group + plan.tiles_of(back.unit, images).of[0][0];
    add_span(back, span, first > 0 || call_.units[back.unit].weight.add);
  }
}

// Of one group, behind so many groups of the span.
template <typename Number>
void ConvBlock<Number>::put_tiles(const Back& back, int64_t behind, Slot& slot, const Span& span,
                                  const Blocked& blocked, Number* inputs, Number* gradients) {
  const ConvPlan& plan = workspace_.plan();
  const ConvUnit& sizes = plan.unit(back.unit);
  const auto& [gradient, activation, pass] = blocked;
  const auto pair = kernels().pairs.tiles;
  const int64_t lanes = plan.lanes(), in = sizes.in / lanes, out = sizes.out / lanes;
  if (pair != nullptr) {
    const int64_t place = behind * span.of_group * lanes;
    inputs += place;
    gradients += place;
  }
  if (!plan.is_winograd(back.unit)) {
    const int64_t pixels = pass.in.images * plan.image_pixels();
    pair(inputs, span.input_tiles, activation, {0, pass.in.block}, 1, in, pixels);
    pair(gradients, span.gradient_tiles, gradient, {0, pass.out.block}, 1, out, pixels);
    return;
  }
  const TileRows all{0, pass.in.images * pass.grid.rows, behind * plan.group_images() * pass.grid.rows};
  if (pair == nullptr) {
    kernels().input_tiles(inputs, activation, all, span.input_tiles, pass);
    kernels().gradient_tiles(gradients, gradient, all, span.gradient_tiles, pass);
    return;
  }
  auto* input_tiles = slot.scratch.data<Number>();
  Number* gradient_tiles = input_tiles + pass.positions * pass.inputs.position;
  for (int64_t first = 0; first < all.count; first += pass.band) {
    const TileRows band{first, std::min(pass.band, all.count - first)};
    const int64_t place = first * pass.grid.columns * lanes, tiles = band.count * pass.grid.columns;
    kernels().input_tiles(input_tiles, activation, band, pass.inputs, pass);
    kernels().gradient_tiles(gradient_tiles, gradient, band, pass.outputs, pass);
    pair(inputs + place, span.input_tiles, input_tiles, pass.inputs, pass.positions, in, tiles);
    pair(gradients + place, span.gradient_tiles, gradient_tiles, pass.outputs, pass.positions, out, tiles);
  }
}

template <typename Number>
void ConvBlock<Number>::add_span(const Back& back, const Span& span, bool add) {
  const ConvPlan& plan = workspace_.plan();
  const ConvUnit& sizes = plan.unit(back.unit);
  const int64_t lanes = plan.lanes(), blocks = sizes.in / lanes, chunks = (blocks + kChunkBlocks - 1) / kChunkBlocks;
  const int64_t positions = plan.positions(back.unit);
  workspace_.workers().for_parts(chunks, [&](int64_t chunk, Slot& slot) {
    const int64_t first = chunk * kChunkBlocks, in = std::min(kChunkBlocks, blocks - first) * lanes;
    const int64_t count = in * sizes.out;
    const SumShape shape{span.tiles, positions, in, sizes.out, odd_lines(count), span.input_tiles, span.gradient_tiles};
    float* sums = slot.sums.grow(positions * shape.position);
    kernels().sum_products(sums, span.inputs + first * span.input_tiles.block, span.gradients, false, shape);
    const float* taps = sums;
    if (positions > 1) {
      float* own = slot.taps.grow(9 * count);
      kernels().layouts.transform_sums(own, count, sums, shape.position, count, positions);
      taps = own;
    }
    put_weight_gradient(call_.units[back.unit].weight, plan, kernels().layouts, back.unit, {taps, first * lanes, in}, 1,
                        0, add);
  });
}

template class ConvBlock<float>;
template class ConvBlock<BFloat16>;

}  // namespace resnet_nodes
