// footprint.h: what a function takes in bytes and operations, from its shapes alone.
#pragma once

#include <cstdint>
#include <vector>

#include "functions/layer_table.h"

namespace resnet_nodes {

/// Of one function at inputs like x, in training; bytes, the input itself and the cotangent of the output apart.
struct Footprint {
  std::vector<int64_t> output_sizes;
  int64_t input = 0;
  int64_t output = 0;
  int64_t evaluation = 0;     ///< of an evaluation without a tape at its widest, its output included
  int64_t taping = 0;         ///< of one that stores its whole tape, which is included as its output is
  int64_t tape = 0;           ///< of that tape once the output has been taken out of it
  int64_t from_tape = 0;      ///< of the product with such a tape at its widest, beyond the tape; the gradient included
  int64_t replayed_tape = 0;  ///< of the tape that an evaluation on the way back keeps
  int64_t from_replay = 0;    ///< of that evaluation and its product at their widest, the gradient included
  double operations = 0;      ///< multiply-adds of an evaluation, and a few for each value
  double repeated = 0;        ///< share of them that a product in parts of the batch does once more
  bool tape_holds_input = false;
};

/// Of function n. `tape_bytes`: as StageOptions has it.
Footprint footprint_of(const LayerTable& table, int64_t n, const Tensor& x, int64_t tape_bytes);

}  // namespace resnet_nodes
