// callbacks.h: residual functions that live outside the library, such as any TorchSharp module.
#pragma once

#include <cstdint>

#include "resnet_nodes/export.h"

namespace resnet_nodes {

/// What an evaluation of f_n is for.
enum class Evaluation {
  forward,       ///< the one evaluation of the forward pass: running statistics may change, random numbers are fresh
  replay,        ///< on the way back: nothing outside may change, random numbers are those of the forward pass
  tape,          ///< as replay, and the function keeps what its vector-Jacobian product needs, under `slot`
  forward_tape,  ///< as forward, and kept as with tape
};

/// External functions, as plain addresses so that any runtime can provide them.
/// Tensor arguments (`x`, `cotangent`) are owned handles: the callee releases them. Results are borrowed: the library
/// takes its own reference at once, so they have to live until the callee is called again or the stage's call returns.
/// They are called on the thread that calls the stage. No two tapes of a process have the same slot.
/// A return value other than 0 says that the callee failed; the running call then throws CallbackError.
struct CallbackTable {
  /// int32_t evaluate(void* user, int64_t function, int64_t use, int32_t evaluation, int64_t slot, void* x, void**
  /// result): f_n(x) for n = function. `use` numbers the evaluations of one forward pass from 0 (Heun uses a function
  /// in two steps); on the way back the same number stands for the same evaluation, so that random numbers can be
  /// replayed.
  void* evaluate = nullptr;
  /// int32_t vjp(void* user, int64_t function, int64_t slot, void* cotangent, void** result): the gradient of x;
  /// gradients of parameters stay with the callee, which adds them up. A function alone (StageOptions::residual) may
  /// leave `result` null where it is not to differentiate x. Uses the slot's tape up.
  void* vjp = nullptr;
  /// void drop(void* user, int64_t slot): the tape is not needed any more.
  void* drop = nullptr;
  /// Passed back as it is.
  void* user = nullptr;
};

/// Who is told, during a backward pass, of gradients that are final. A plain address, as above.
struct GradientListener {
  /// int32_t ready(void* user, int64_t first, int64_t count): the gradients of `count` parameters, from number `first`
  /// of the forward pass's list, have all of this pass's parts; nothing reads or writes them again in it. Each
  /// parameter is told of once, those of the last function first, on the thread that calls the stage. A return value
  /// other than 0 ends the pass with a CallbackError.
  void* ready = nullptr;
  /// Passed back as it is.
  void* user = nullptr;
};

}  // namespace resnet_nodes
