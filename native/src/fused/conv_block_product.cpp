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
void ConvBlock::product_sums(size_t unit, const ConvGroup& group, const float* g, const float* value,
                             float* sums) const {
  const int64_t own = channels(unit);
  float* of_group = sums + group.index * 2 * own;
  workspace_.kernels().product_sums(of_group, of_group + own, g, value, norm(unit).mean,
                                    workspace_.plan().dense(own, group.images));
}

Tensor ConvBlock::vjp(const Tensor& base_state, const Tensor& cotangent_state, double a, FusedTape& tape) {
  const Tensor cotangent = dense(cotangent_state), base = base_state.defined() ? dense(base_state) : Tensor();
  const ConvPlan& plan = workspace_.plan();
  const size_t last = units() - 1;
  const Tensor out = call_.states->like(cotangent);
  for (size_t i = 0; i < units(); ++i) load_norm(i);
  const float* g = data(cotangent);
  if (!tape.has_sums) {
    float* sums = tape.sums.resize(plan.groups() * 2 * channels(last));
    workspace_.for_groups([&](const ConvGroup& group, Slot&) {
      const int64_t first = group.first_pixel * channels(last);
      product_sums(last, group, g + first, data(tape.values[last]) + first, sums);
    });
  }
  tape.has_sums = false;
  const float* sums = tape.sums.data();
  for (size_t unit = units(); unit-- > 0;) {
    const bool is_first = unit == 0;
    Back back{unit,
              g,
              is_first ? data(tape.x) : data(tape.values[unit - 1]),
              data(tape.values[unit]),
              is_first ? target(out) : workspace_.gradient(unit),
              is_first && base.defined() ? data(base) : nullptr,
              norm_gradient(unit, unit == last ? a : 1.0, sums),
              workspace_.packed(call_.key, unit, true, call_.units[unit].convolution.parameters[0])};
    go_back(back);
    g = back.to;
    sums = workspace_.sums();
  }
  return out;
}

// The gradient of the unit's input, before its activation; the blocked gradient and activation stay where they are.
void ConvBlock::input_gradient(const Back& back, const ConvGroup& group, Slot& slot, const ConvPass& pass,
                               float* gradient, float* activation) {
  const ConvKernels& kernels = workspace_.kernels();
  const ConvUnit& sizes = workspace_.plan().unit(back.unit);
  const int64_t in = group.first_pixel * sizes.in, out = group.first_pixel * sizes.out;
  float* bias_sums = workspace_.bias_sums(group.part);
  if (group.starts_part) std::fill_n(bias_sums, sizes.out, 0.0f);
  kernels.norm_gradient(gradient, bias_sums, back.g + out, back.value + out, norm(back.unit).mean, back.norm.by_g,
                        back.norm.by_x, back.norm.constant, pass.out);
  const bool masked = masks(back.unit);
  if (masked || call_.units[back.unit].weight.gradient.defined()) {
    activate(back.unit, activation, back.x + in, pass.in);
  }
  float* to = back.to + in;
  const float* base = back.base != nullptr ? back.base + in : nullptr;
  const ConvPass backward = workspace_.plan().back_pass(back.unit, group.images, pass.out.block);
  kernels.convolve(to, gradient, back.weights, nullptr, masked ? nullptr : base, slot.scratch.data(), backward);
  if (masked) kernels.mask(to, base, to, activation, pass.in);
  if (back.unit > 0) {
    product_sums(back.unit - 1, group, to, back.x + in, workspace_.sums());
  }
}

void ConvBlock::go_back(const Back& back) {
  const ConvPlan& plan = workspace_.plan();
  const ConvBlockCall::Unit& own = call_.units[back.unit];
  const bool wants_weight = own.weight.gradient.defined();
  if (wants_weight && !plan.sums_by_parts()) {
    go_back_by_channels(back);
  } else {
    const int64_t weights = plan.unit(back.unit).taps * plan.unit(back.unit).in * plan.unit(back.unit).out;
    if (wants_weight) workspace_.part_sums().grow(plan.parts() * weights);
    workspace_.for_groups([&](const ConvGroup& group, Slot& slot) {
      float *gradient = workspace_.blocked(slot, 1, back.unit), *activation = workspace_.blocked(slot, 0, back.unit);
      input_gradient(back, group, slot, plan.pass(back.unit, group.images), gradient, activation);
      if (wants_weight) sum_by_part(back, group, slot, gradient, activation);
    });
    if (wants_weight) {
      put_weight_gradient(own.weight, plan, workspace_.kernels(), back.unit,
                          {workspace_.part_sums().data(), 0, plan.unit(back.unit).in}, plan.parts(), weights,
                          own.weight.add);
    }
  }
  if (!own.bias.gradient.defined()) return;
  std::vector<double> total(static_cast<size_t>(channels(back.unit)));
  for (int64_t part = 0; part < plan.parts(); ++part) add_to(total, workspace_.bias_sums(part));
  put(own.bias, total);
}

// Adds a group's products to the sums of its part.
void ConvBlock::sum_by_part(const Back& back, const ConvGroup& group, Slot& slot, const float* gradient,
                            const float* activation) {
  const ConvPlan& plan = workspace_.plan();
  const ConvKernels& kernels = workspace_.kernels();
  const ConvUnit& sizes = plan.unit(back.unit);
  const ConvPass pass = plan.pass(back.unit, group.images);
  float* of_part = workspace_.part_sums().data() + group.part * sizes.taps * sizes.in * sizes.out;
  SumShape shape{0, plan.positions(back.unit), sizes.in, sizes.out, 0, {0, pass.in.block}, {0, pass.out.block}};
  if (!plan.is_winograd(back.unit)) {
    shape.tiles = group.images * plan.image_pixels();
    kernels.sum_products(of_part, activation, gradient, !group.starts_part, shape);
    return;
  }
  const int64_t count = sizes.in * sizes.out;
  shape.position = odd_lines(count);
  float* sums = slot.sums.grow(16 * shape.position);
  shape.inputs = pass.inputs;
  shape.gradients = pass.outputs;
  float *inputs = slot.scratch.data(), *gradients = inputs + 16 * pass.inputs.position;
  const int64_t rows = group.images * pass.tile_rows;
  for (int64_t first = 0; first < rows; first += pass.band) {
    const TileRows band{first, std::min(pass.band, rows - first)};
    kernels.input_tiles(inputs, activation, band, shape.inputs, pass);
    kernels.gradient_tiles(gradients, gradient, band, shape.gradients, pass);
    shape.tiles = band.count * pass.tile_columns;
    kernels.sum_products(sums, inputs, gradients, !group.starts_part || first > 0, shape);
  }
  if (group.ends_part) kernels.transform_sums(of_part, count, sums, shape.position, count);
}

// Where weights are many: first the input's gradient of a span of groups, which leaves its tiles, then the products of
// these by channels, so that no thread has sums of its own.
void ConvBlock::go_back_by_channels(const Back& back) {
  const ConvPlan& plan = workspace_.plan();
  const ConvKernels& kernels = workspace_.kernels();
  const ConvUnit& sizes = plan.unit(back.unit);
  const int64_t positions = plan.positions(back.unit);
  const int64_t most_tiles = plan.span_groups() * plan.group_images() * plan.tiles(back.unit);
  Span span{nullptr, nullptr, plan.tile_shape(sizes.in, most_tiles), plan.tile_shape(sizes.out, most_tiles), 0};
  float* all_inputs = workspace_.span_tiles(0).grow(positions * span.input_tiles.position);
  float* all_gradients = workspace_.span_tiles(1).grow(positions * span.gradient_tiles.position);
  span.inputs = all_inputs;
  span.gradients = all_gradients;
  for (int64_t first = 0; first < plan.groups(); first += plan.span_groups()) {
    const int64_t end = std::min(first + plan.span_groups(), plan.groups());
    const int64_t first_image = plan.first_image(first);
    workspace_.for_groups(first, end, [&](const ConvGroup& group, Slot& slot) {
      const int64_t place = (plan.first_image(group.index) - first_image) * plan.tiles(back.unit) * plan.lanes();
      float *inputs = all_inputs + place, *gradients = all_gradients + place;
      if (!plan.is_winograd(back.unit)) {
        input_gradient(back, group, slot, plan.pass(back.unit, group.images, span.input_tiles.block), gradients,
                       inputs);
        return;
      }
      float *gradient = workspace_.blocked(slot, 1, back.unit), *activation = workspace_.blocked(slot, 0, back.unit);
      const ConvPass pass = plan.pass(back.unit, group.images);
      input_gradient(back, group, slot, pass, gradient, activation);
      const TileRows all{0, group.images * pass.tile_rows};
      kernels.input_tiles(inputs, activation, all, span.input_tiles, pass);
      kernels.gradient_tiles(gradients, gradient, all, span.gradient_tiles, pass);
    });
    const int64_t last = end - 1, images = plan.first_image(last) + plan.images_of(last) - first_image;
    span.tiles = images * plan.tiles(back.unit);
    add_span(back, span, first > 0 || call_.units[back.unit].weight.add);
  }
}

void ConvBlock::add_span(const Back& back, const Span& span, bool add) {
  const ConvPlan& plan = workspace_.plan();
  const ConvKernels& kernels = workspace_.kernels();
  const ConvUnit& sizes = plan.unit(back.unit);
  const int64_t lanes = plan.lanes(), blocks = sizes.in / lanes, chunks = (blocks + kChunkBlocks - 1) / kChunkBlocks;
  const int64_t positions = plan.positions(back.unit);
  workspace_.workers().for_parts(chunks, [&](int64_t chunk, Slot& slot) {
    const int64_t first = chunk * kChunkBlocks, in = std::min(kChunkBlocks, blocks - first) * lanes;
    const int64_t count = in * sizes.out;
    const SumShape shape{span.tiles, positions, in, sizes.out, odd_lines(count), span.input_tiles, span.gradient_tiles};
    float* sums = slot.sums.grow(positions * shape.position);
    kernels.sum_products(sums, span.inputs + first * span.input_tiles.block, span.gradients, false, shape);
    const float* taps = sums;
    if (positions > 1) {
      float* own = slot.taps.grow(9 * count);
      kernels.transform_sums(own, count, sums, shape.position, count);
      taps = own;
    }
    put_weight_gradient(call_.units[back.unit].weight, plan, kernels, back.unit, {taps, first * lanes, in}, 1, 0, add);
  });
}

}  // namespace resnet_nodes
