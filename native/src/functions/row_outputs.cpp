#include "functions/row_outputs.h"

#include "tensors/layout.h"

namespace resnet_nodes {

const Tensor& RowOutputs::of(int64_t row) {
  const auto place = static_cast<size_t>(row + 1);
  Tensor& found = found_[place];
  if (found.defined()) return found;
  if (kept_[place].defined()) return found = part_of(kept_[place], 0, first_, count_);
  const LayerTable::Row& of_row = function_.rows[static_cast<size_t>(row)];
  LayerCall call = call_of_(of_row);
  const Tensor other = of_row.takes_two ? of(of_row.other) : Tensor();
  call.other = &other;
  found = of_row.layer->replay(of(of_row.input), call);
  return found;
}

Tensor RowOutputs::read_by(const LayerTable::Row& row, int64_t number) {
  switch (row.layer->reads()) {
    case Reads::input:
      return of(row.input);
    case Reads::output:
      return of(number);
    case Reads::nothing:
      break;
  }
  return {};
}

}  // namespace resnet_nodes
