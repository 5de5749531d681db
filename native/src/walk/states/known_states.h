// known_states.h: the states that a way back knows exactly: those that the forward pass kept, and those replayed from
// them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "resnet_nodes/stage.h"
#include "tensors/sample.h"
#include "walk/solver/recursion.h"

namespace resnet_nodes {

/// What a forward pass stores for its way back, beside its output.
struct StoredStates {
  std::vector<StepTape> tapes;       ///< of the last steps
  std::map<int64_t, Tensor> states;  ///< x_n of some steps n
  std::optional<Samples> samples;    ///< of x_n of every step
  bool kept = false;                 ///< the way back leaves them for another one
};

/// States that a way back may hold at a time, where `given` (StageOptions::most_states) does not say: 2 sqrt(steps),
/// and at most 7 however deep the stage.
int64_t most_states(int64_t steps, int64_t given);

/// Steps after which a pass of `way` steps best leaves its next state, if it can leave `room` of them: then the steps
/// below its end are replayed with the fewest evaluations in the worst case, that all of them are (Griewank and Walther
/// 2000, algorithm 799). With r replays of each step, binomial(room + 1 + r, r) - 1 steps are within reach. Without
/// room it leaves none before its end.
int64_t next_left(int64_t way, int64_t room);

/// Steps that a way back replays which asks for the states of `wanted` steps, in falling order, where those of `kept`
/// are kept; `most` at a time.
int64_t replayed_steps(const std::vector<int64_t>& wanted, const std::vector<int64_t>& kept, int64_t most);

/// The exact states of one way back. They are let go of as it passes them.
class KnownStates {
 public:
  /// Takes the states out of `stored`, unless those are for another way back too. Holds `most` at a time.
  KnownStates(const Recursion& recursion, StoredStates& stored, int64_t most);

  bool has(int64_t n) const { return states_.count(n) > 0; }
  /// Steps that a replay to x_n takes; more than there are where it has nothing to begin from.
  int64_t distance(int64_t n) const;
  /// x_n, replayed if need be from the nearest state below. A long way leaves states behind for the steps below n, as
  /// many as there is room for.
  Tensor at(int64_t n);
  /// How x_n came to be known; found where it is not.
  StateSource source(int64_t n) const;
  /// How many it holds.
  int64_t held() const { return static_cast<int64_t>(states_.size()); }
  /// The walk has passed step n.
  void leave(int64_t n) { states_.erase(n); }
  /// Evaluations of functions spent by replays so far.
  int64_t evaluations() const { return evaluations_; }

 private:
  const Recursion& recursion_;
  int64_t most_;
  std::map<int64_t, Tensor> states_;
  std::set<int64_t> kept_;
  int64_t evaluations_ = 0;
};

}  // namespace resnet_nodes
