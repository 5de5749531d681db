#include "walk/states/known_states.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace resnet_nodes {

namespace {

constexpr int64_t kMostStates = 7;

}  // namespace

int64_t next_left(int64_t way, int64_t room) {
  if (room < 1) return way;
  // binomial(room + 1 + r, r) and binomial(room + r, r): with a state fewer.
  int64_t all = room + 2, fewer = room + 1;
  for (int64_t r = 1; all - 1 < way; ++r) {
    all = all * (room + r + 2) / (r + 1);
    fewer = fewer * (room + r + 1) / (r + 1);
  }
  // As near as the rest of the way lets it be, which has a state fewer.
  return std::max<int64_t>(1, way - (fewer - 1));
}

int64_t most_states(int64_t steps, int64_t given) {
  if (given > 0) return given;
  const auto rooted = static_cast<int64_t>(2 * std::sqrt(static_cast<double>(steps)));
  return std::clamp<int64_t>(rooted, 1, kMostStates);
}

int64_t replayed_steps(const std::vector<int64_t>& wanted, const std::vector<int64_t>& kept, int64_t most) {
  std::set<int64_t> states(kept.begin(), kept.end());
  int64_t replayed = 0;
  for (auto next = wanted.rbegin(); next != wanted.rend(); ++next) {
    const int64_t n = *next;
    states.erase(states.upper_bound(n), states.end());
    const auto above = states.upper_bound(n);
    if (above == states.begin()) continue;
    int64_t m = *std::prev(above);
    int64_t room = most - static_cast<int64_t>(states.size()) - 1;
    replayed += n - m;
    for (; m < n; --room) states.insert(m += next_left(n - m, room));
  }
  return replayed;
}

KnownStates::KnownStates(const Recursion& recursion, StoredStates& stored, int64_t most)
    : recursion_(recursion), most_(most), states_(stored.kept ? stored.states : std::exchange(stored.states, {})) {
  for (const auto& [n, state] : states_) kept_.insert(n);
}

int64_t KnownStates::distance(int64_t n) const {
  const auto above = states_.upper_bound(n);
  return above == states_.begin() ? recursion_.steps + 1 : n - std::prev(above)->first;
}

Tensor KnownStates::at(int64_t n) {
  int64_t m = n - distance(n);
  // One is x_n itself.
  int64_t room = most_ - held() - 1;
  Tensor x = states_.at(m);
  while (m < n) {
    const int64_t left = m + next_left(n - m, room);
    while (m < left) {
      const Tensor before = x;
      x = recursion_.solver.replay(recursion_.functions, m, before, recursion_.h);
      evaluations_ += recursion_.solver.evaluations_per_step();
      if (!has(m)) recursion_.functions.recycle(before);
      ++m;
    }
    states_[m] = x;
    --room;
  }
  return x;
}

StateSource KnownStates::source(int64_t n) const {
  if (!has(n)) return StateSource::found;
  return kept_.count(n) > 0 ? StateSource::kept : StateSource::replayed;
}

}  // namespace resnet_nodes
