// macros.h: what LibTorch 2.10's header of this name offers, for `./build.sh cuda-check`: in front of a later
// LibTorch's headers it makes names that 2.10 lacks errors.
#pragma once

#include <torch/csrc/stable/c/shim.h>
#include <torch/headeronly/macros/Macros.h>
#include <torch/headeronly/util/shim_utils.h>

// For the later headers; 2.10's use the macro on the right.
#define STABLE_TORCH_ERROR_CODE_CHECK(call) TORCH_ERROR_CODE_CHECK(call)
