#include "functions/layer_table.h"

#include <utility>

#include "device/cuda_launch.h"
#include "fused/conv_block.h"
#include "fused/mlp.h"
#include "resnet_nodes/error.h"
#include "tensors/describe.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

bool has_sizes(const Tensor& tensor, const std::vector<int64_t>& sizes) {
  if (tensor.dim() != static_cast<int64_t>(sizes.size())) return false;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (tensor.size(static_cast<int64_t>(i)) != sizes[i]) return false;
  }
  return true;
}

void check_tensor(const Tensor& tensor, const Tensor& x, const std::vector<int64_t>& sizes, const char* list,
                  int64_t index, const std::string& where) {
  const auto fail = [&](const std::string& what, const std::string& expected) {
    throw Error(std::string(list) + "[" + std::to_string(index) + "] (" + where + ") is " + what + ", expected " +
                expected);
  };
  if (!tensor.defined()) fail("undefined", "a tensor of shape " + sizes_text(sizes));
  if (!has_sizes(tensor, sizes)) fail(shape_text(tensor), sizes_text(sizes));
  if (tensor.scalar_type() != x.scalar_type()) fail(dtype_text(tensor), dtype_text(x) + " like x");
  if (!same_device(tensor, x)) fail("on " + device_text(tensor), device_text(x) + " like x");
}

}  // namespace

std::string layer_place(int64_t function, size_t layer) {
  return "function " + std::to_string(function) + ", layer " + std::to_string(layer);
}

void check_length(const std::vector<Tensor>& list, int64_t expected, const char* name) {
  if (static_cast<int64_t>(list.size()) != expected) {
    throw Error(std::string(name) + " has " + std::to_string(list.size()) + " tensors, expected " +
                std::to_string(expected));
  }
}

int64_t parameter_count(const FunctionSpec& function) { return LayerTable({function}, 1).parameter_count(); }

int64_t buffer_count(const FunctionSpec& function) { return LayerTable({function}, 1).buffer_count(); }

LayerTable::LayerTable(const std::vector<FunctionSpec>& functions, int64_t depth, ComputeType compute_type,
                       bool keep_shape)
    : fusing_(fusing_is_on() && keep_shape), compute_type_(compute_type), keep_shape_(keep_shape) {
  if (functions.empty()) throw Error("functions is empty, expected one or as many as the depth");
  if (functions.size() != 1 && static_cast<int64_t>(functions.size()) != depth) {
    throw Error("functions has " + std::to_string(functions.size()) + " entries, expected 1 or the depth " +
                std::to_string(depth));
  }
  for (const FunctionSpec& spec : functions) {
    if (spec.layers.empty()) throw Error("function " + std::to_string(functions_.size()) + " has no layers");
    Function function;
    for (const LayerSpec& layer_spec : spec.layers) {
      Row row;
      row.layer = make_layer(layer_spec, layer_place(static_cast<int64_t>(functions_.size()), function.rows.size()));
      row.first_parameter = parameter_count_;
      row.first_buffer = buffer_count_;
      if (row.layer->has_statistics()) {
        row.statistics = function.statistics_count++;
        row.norm = norm_count();
        norm_buffers_.push_back(row.layer->buffer_count() > 0 ? row.first_buffer : -1);
      }
      parameter_count_ += row.layer->parameter_count();
      buffer_count_ += row.layer->buffer_count();
      function.rows.push_back(std::move(row));
    }
    join(function, static_cast<int64_t>(functions_.size()));
    fresh_ = fresh_ && function.rows.back().layer->output_is_fresh();
    function.chain = conv_chain(spec.layers);
    if (!function.chain.units.empty()) function.fusion = Fusion::conv_block;
    if (is_mlp(spec.layers)) function.fusion = Fusion::mlp;
    functions_.push_back(std::move(function));
  }
  norm_locks_ = std::make_unique<std::shared_mutex[]>(norm_buffers_.size());
}

// Who reads what.
void LayerTable::join(Function& function, int64_t number) {
  const auto count = static_cast<int64_t>(function.rows.size());
  std::vector<int64_t> readers(function.rows.size(), 0);
  const auto read = [&](int64_t row, int64_t by, bool back) {
    if (row < 0) {
      function.last_reader_of_input = by;
      function.reads_input_back = function.reads_input_back || back;
      return;
    }
    Row& source = function.rows[static_cast<size_t>(row)];
    source.last_reader = by;
    source.is_read_back = source.is_read_back || back;
    ++readers[static_cast<size_t>(row)];
  };
  for (int64_t r = 0; r < count; ++r) {
    Row& row = function.rows[static_cast<size_t>(r)];
    const LayerSpec& spec = row.layer->spec();
    row.takes_two = row.layer->takes_two();
    const auto place = [&](int64_t given, const char* name) {
      const int64_t found = given == kLayerBefore ? r - 1 : given;
      if (found >= kFunctionInput && found < r) return found;
      throw Error(layer_place(number, static_cast<size_t>(r)) + ": " + name + " is " + std::to_string(given) +
                  ", expected an earlier layer's number, kFunctionInput or kLayerBefore");
    };
    row.input = place(spec.input, "input");
    read(row.input, r, row.layer->reads() == Reads::input);
    if (row.layer->reads() == Reads::output) row.is_read_back = true;
    row.other = row.takes_two ? place(spec.other, "other") : row.input;
    if (row.takes_two) read(row.other, r, row.layer->reads_other());
  }
  for (int64_t r = 0; r < count; ++r) {
    Row& row = function.rows[static_cast<size_t>(r)];
    const bool is_last = r + 1 == count;
    if (row.last_reader < 0 && !is_last) {
      throw Error(layer_place(number, static_cast<size_t>(r)) + ": no layer reads its output");
    }
    row.feeds_next = !is_last && readers[static_cast<size_t>(r)] == 1 && row.last_reader == r + 1;
    if (is_last) row.last_reader = count;
  }
}

std::string LayerTable::parameter_place(int64_t index) const {
  for (size_t f = 0; f < functions_.size(); ++f) {
    for (size_t r = 0; r < functions_[f].rows.size(); ++r) {
      const Row& row = functions_[f].rows[r];
      const int64_t i = index - row.first_parameter;
      if (i < 0 || i >= row.layer->parameter_count()) continue;
      return layer_place(static_cast<int64_t>(f), r) + (i == 0 ? ", weight" : ", bias");
    }
  }
  return "no parameter";
}

bool LayerTable::uses_batch(const std::vector<int32_t>& training) const {
  for (size_t norm = 0; norm < norm_buffers_.size(); ++norm) {
    if (training[norm] != 0 || norm_buffers_[norm] < 0) return true;
  }
  return false;
}

Fusion LayerTable::fusion(int64_t n, const Tensor& x) const {
  const Function& f = function(n);
  if (!fusing_) return Fusion::none;
  const bool fits = f.fusion == Fusion::conv_block ? fuses_conv_block(x, f.chain, is_mixed())
                    : f.fusion == Fusion::mlp      ? !is_mixed() && fuses_mlp(x, f.channels())
                                                   : false;
  return fits ? f.fusion : Fusion::none;
}

std::string LayerTable::path(int64_t n, const Tensor& x) const {
  const Function& f = function(n);
  switch (fusion(n, x)) {
    case Fusion::conv_block:
      return conv_block_path_name(f.chain, is_mixed());
    case Fusion::mlp:
      return mlp_path_name(f.spec(1).kind, f.spec(0).out_features);
    case Fusion::none:
      break;
  }
  return std::string("operators") + (x.dim() == 4 ? ", channels_last" : "") + (is_mixed() ? ", bfloat16" : "") +
         (cuda_kernels_for(x) != nullptr ? ", cuda steps" : "");
}

void LayerTable::check(const Tensor& x, const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers,
                       const std::vector<int32_t>& training) const {
  if (is_mixed() && x.scalar_type() != ScalarType::Float) {
    throw Error("x is " + dtype_text(x) +
                ", expected float32: compute_type bfloat16 keeps states and parameters in it");
  }
  check_length(parameters, parameter_count_, "parameters");
  check_length(buffers, buffer_count_, "buffers");
  if (training.size() != norm_buffers_.size()) {
    throw Error("training has " + std::to_string(training.size()) + " entries, expected " +
                std::to_string(norm_buffers_.size()) + ", one a batch normalization");
  }
  for (size_t f = 0; f < functions_.size(); ++f) {
    for (size_t r = 0; r < functions_[f].rows.size(); ++r) {
      const Row& row = functions_[f].rows[r];
      const auto where = [&] { return layer_place(static_cast<int64_t>(f), r); };
      for (int64_t i = 0; i < row.layer->parameter_count(); ++i) {
        const int64_t index = row.first_parameter + i;
        check_tensor(parameters[static_cast<size_t>(index)], x, row.layer->parameter_sizes(i), "parameters", index,
                     where());
      }
      for (int64_t i = 0; i < row.layer->buffer_count(); ++i) {
        const int64_t index = row.first_buffer + i;
        check_tensor(buffers[static_cast<size_t>(index)], x, {row.layer->spec().in_features}, "buffers", index,
                     where());
      }
    }
  }
}

}  // namespace resnet_nodes
