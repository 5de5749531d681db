// by_layers.cpp: functions that are evaluated and differentiated layer by layer.
#include <torch/csrc/stable/ops.h>

#include <string>

#include "functions/layer_functions.h"
#include "resnet_nodes/error.h"
#include "tensors/describe.h"
#include "tensors/layout.h"

namespace resnet_nodes {

// In the backward pass: evaluates row `row` and those after it that fold into one. Returns how many; 0: none.
size_t LayerFunctions::apply_folded(Use use, size_t row, const Tensor& input, bool has_tape, KeptOutputs& outputs) {
  const std::vector<LayerTable::Row>& rows = table_->function(use.function).rows;
  // Where row r goes on in one of this kind alone.
  const auto goes_on = [&](size_t r, LayerKind kind) {
    return rows[r].feeds_next && rows[r + 1].layer->spec().kind == kind;
  };
  const LayerSpec& spec = rows[row].layer->spec();
  // A tape needs what stands between a convolution and its normalization.
  const bool folding = !has_tape && spec.kind == LayerKind::conv2d && goes_on(row, LayerKind::batch_norm2d) &&
                       spec.stride_height == 1 && spec.stride_width == 1 && folds(input) &&
                       !is_sliced(input, call_for(use, rows[row]).parameters[0], spec);
  const size_t at = folding ? row + 1 : row;
  if (rows[at].layer->spec().kind != LayerKind::batch_norm2d) return 0;
  const std::optional<KnownNorm> norm = rows[at].layer->known_norm(call_for(use, rows[at]));
  if (!norm) return 0;
  const bool relu = goes_on(at, LayerKind::relu);
  const size_t last = relu ? at + 1 : at;
  if (folding) {
    const LayerCall call = call_for(use, rows[row]);
    outputs[last + 1] =
        folded_convolution(input, call.parameters[0], spec.bias ? call.parameters[1] : Tensor(), spec, *norm, relu);
  } else if (normalizes_at_once(input, *norm)) {
    outputs[last + 1] = normalized(input, *norm, relu);
  } else {
    return 0;
  }
  return last + 1 - row;
}

Tensor LayerFunctions::apply(Use use, const Tensor& x, Tape* tape, bool replay) {
  const int64_t n = use.function;
  const LayerTable::Function& function = table_->function(n);
  auto* layers = static_cast<LayerTape*>(tape);
  KeptOutputs outputs(function.rows.size() + 1);
  outputs[0] = narrowed(x);
  if (layers != nullptr) {
    layers->type = outputs[0].scalar_type();
    layers->parts = parts_for(use, outputs[0], replay);
    if (!layers->parts.is_whole()) {
      layers->outputs.assign(outputs.size(), Tensor());
      layers->outputs[0] = outputs[0];
      return widened(replay_in_parts(use, *layers), x);
    }
  }
  const auto let_go = [&](int64_t row, bool is_read_back, int64_t last_reader, size_t after) {
    const bool is_kept = layers != nullptr && is_read_back;
    if (!is_kept && last_reader <= static_cast<int64_t>(after)) outputs[static_cast<size_t>(row + 1)] = Tensor();
  };
  for (size_t r = 0; r < function.rows.size(); ++r) {
    const LayerTable::Row& row = function.rows[r];
    LayerCall call = call_for(use, row);
    const Tensor input = outputs[static_cast<size_t>(row.input + 1)];
    const Tensor other = row.takes_two ? outputs[static_cast<size_t>(row.other + 1)] : Tensor();
    call.other = &other;
    if (const size_t folded = replay ? apply_folded(use, r, input, layers != nullptr, outputs) : 0) {
      r += folded - 1;
    } else if (replay) {
      outputs[r + 1] = row.layer->replay(input, call);
    } else {
      row.layer->check_input(input, layer_place(n, r));
      outputs[r + 1] = row.layer->forward(input, call);
    }
    for (const int64_t source : {row.input, row.other}) {
      if (source < 0) {
        let_go(source, function.reads_input_back, function.last_reader_of_input, r);
      } else {
        const LayerTable::Row& of = function.rows[static_cast<size_t>(source)];
        let_go(source, of.is_read_back, of.last_reader, r);
      }
    }
  }
  // cuDNN's convolutions give row-major results in float64, and steps write over a function's result.
  const Tensor& last = outputs.back();
  const Tensor result = last.dim() == 4 && !is_pixel_major(last) ? state_layout(last) : last;
  if (layers != nullptr) {
    if (!function.rows.back().is_read_back) outputs.back() = Tensor();
    layers->outputs = std::move(outputs);
  }
  if (!replay && table_->keeps_shape() && !same_sizes(result, x)) {
    throw Error("function " + std::to_string(n) + " gives " + shape_text(result) + ", expected " + shape_text(x) +
                " like its input");
  }
  return widened(result, x);
}

// How much of the tape is held at a time. A forward pass has no statistics yet that parts of the batch could use.
Parts LayerFunctions::parts_for(Use use, const Tensor& x, bool replay) {
  const LayerTable::Function& function = table_->function(use.function);
  std::vector<bool> uses_batch;
  for (const LayerTable::Row& row : function.rows) {
    uses_batch.push_back(row.statistics >= 0 && row.layer->known_norm(call_for(use, row)).has_value());
  }
  Parts parts = parts_of(function, x, replay ? tape_bytes_ : kWholeTape, uses_batch);
  // Ranks may go over their images in parts or not; their sums have one order.
  if (ranks_ != nullptr && parts.is_whole()) parts.set_barriers(function, uses_batch);
  return parts;
}

// Keeps what the product reads of all images, and gives the output.
Tensor LayerFunctions::replay_in_parts(Use use, LayerTape& tape) {
  const LayerTable::Function& function = table_->function(use.function);
  const CallOf call_of = [&](const LayerTable::Row& row) { return call_for(use, row); };
  const Parts& parts = tape.parts;
  const auto last = static_cast<int64_t>(function.rows.size()) - 1;
  KeptOutputs kept(tape.outputs.size());
  const KeptOutputs input{tape.outputs};
  Tensor result;
  const auto keep = [&](Tensor& all, const Tensor& part, int64_t first, int64_t count) {
    if (!all.defined()) all = whole_like(part, 0, parts.batch);
    Tensor place = part_of(all, 0, first, count);
    torch::stable::copy_(place, part);
  };
  for (int64_t first = 0; first < parts.batch; first += parts.images) {
    const int64_t count = std::min(parts.images, parts.batch - first);
    RowOutputs outputs(function, call_of, input, first, count);
    keep(result, outputs.of(last), first, count);
    for (size_t place = 1; place < kept.size(); ++place) {
      if (parts.keeps[place]) keep(kept[place], outputs.of(static_cast<int64_t>(place) - 1), first, count);
    }
  }
  kept[0] = tape.outputs[0];
  tape.outputs = std::move(kept);
  return result;
}

Tensor LayerFunctions::product(Use use, Tape& tape, const ProductOperands& operands, bool wants_input) {
  auto& layers = static_cast<LayerTape&>(tape);
  ProductHost host;
  host.call_of = [&](const LayerTable::Row& row) { return call_for(use, row); };
  host.wants = [&](int64_t parameter) { return wants(parameter); };
  host.add = [&](int64_t parameter, const Tensor& gradient) { add_gradient(parameter, gradient); };
  host.sum_of = [&](int64_t parameter) { return gradient_so_far(parameter); };
  host.wants_input = wants_input;
  host.keeps_outputs = tape.kept;
  const Tensor result =
      LayerProduct(table_->function(use.function), host, layers.parts, layers.outputs, layers.type).of(operands);
  return result.defined() ? widened(result, operands.cotangent) : result;
}

Tensor LayerFunctions::gradient_alone(Use use, Tape& tape, const Tensor& cotangent) {
  return product(use, tape, {cotangent, 1, Tensor()}, wants_input_);
}

}  // namespace resnet_nodes
