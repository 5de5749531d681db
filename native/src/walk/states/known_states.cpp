#include "walk/states/known_states.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace resnet_nodes {

int64_t most_states(int64_t steps) {
  return std::max<int64_t>(1, static_cast<int64_t>(2 * std::sqrt(static_cast<double>(steps))));
}

KnownStates::KnownStates(const Recursion& recursion, StoredStates& stored)
    : recursion_(recursion), states_(stored.kept ? stored.states : std::exchange(stored.states, {})) {
  for (const auto& [n, state] : states_) kept_.insert(n);
}

int64_t KnownStates::distance(int64_t n) const {
  const auto above = states_.upper_bound(n);
  return above == states_.begin() ? recursion_.steps + 1 : n - std::prev(above)->first;
}

Tensor KnownStates::at(int64_t n) {
  const int64_t way = distance(n);
  const int64_t room = most_states(recursion_.steps) - held();
  const auto root = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(way))));
  const int64_t every = way - 1 <= room ? 1 : root;
  Tensor x = states_.at(n - way);
  for (int64_t m = n - way; m < n;) {
    const Tensor before = x;
    x = recursion_.solver.replay(recursion_.functions, m, before, recursion_.h);
    evaluations_ += recursion_.solver.evaluations_per_step();
    if (!has(m)) recursion_.functions.recycle(before);
    ++m;
    if ((m - (n - way)) % every == 0 || m == n) states_[m] = x;
  }
  return x;
}

StateSource KnownStates::source(int64_t n) const {
  if (!has(n)) return StateSource::found;
  return kept_.count(n) > 0 ? StateSource::kept : StateSource::replayed;
}

}  // namespace resnet_nodes
