// known_states_test.cpp: states of a way back that are kept or replayed: exact, in order, and few at a time.
#include "walk/states/known_states.h"

#include "truth.h"
#include "walk/adaptive/learned.h"

namespace resnet_nodes {
namespace {

using namespace truth;

// f_n(x) = n, with no tape.
class Counting final : public ResidualFunctions {
 public:
  std::unique_ptr<Tape> make_tape() override { return nullptr; }
  Tensor forward(Use use, const Tensor& x, Tape*) override {
    ++evaluations;
    return constant(Shape(x.sizes().begin(), x.sizes().end()), static_cast<double>(use.function));
  }
  Tensor replay(Use use, const Tensor& x, Tape* tape) override { return forward(use, x, tape); }
  Tensor vjp(Use, Tape&, const Tensor& cotangent) override { return cotangent; }
  bool results_are_fresh() const override { return true; }

  int64_t evaluations = 0;
};

// x_0 = 0, h = 1: x_n = n (n - 1) / 2.
double truth_at(int64_t n) { return static_cast<double>(n * (n - 1) / 2); }

TEST(KnownStates, AreExactAndFewAtATime) {
  for (const int64_t steps : {1, 2, 3, 4, 7, 16, 22, 64, 100, 1000}) {
    for (const int64_t every : {int64_t{1} << 20, (steps + 3) / 4, (steps + 1) / 2}) {
      Counting functions;
      const Recursion recursion{find_solver("euler"), functions, steps, 1.0};
      StoredStates stored;
      for (int64_t n = 0; n < steps; n += every) stored.states[n] = constant({2}, truth_at(n));
      const size_t kept = stored.states.size();
      if (static_cast<int64_t>(kept) >= most_states(steps, 0)) continue;
      KnownStates known(recursion, stored, most_states(steps, 0));
      int64_t held = 0;
      for (int64_t n = steps; n-- > 0;) {
        const StateSource source = n % every == 0 ? StateSource::kept : StateSource::replayed;
        EXPECT_EQ(values(known.at(n)), (std::vector<double>{truth_at(n), truth_at(n)})) << steps << ", " << n;
        EXPECT_EQ(known.source(n), source);
        held = std::max(held, known.held());
        known.leave(n);
      }
      EXPECT_LE(held, most_states(steps, 0)) << steps << ", every " << every;
      EXPECT_EQ(known.evaluations(), functions.evaluations);
      // At most r times each where binomial(m + 1 + r, r) steps begin at a kept state and there is room for m more.
      const int64_t room = most_states(steps, 0) - static_cast<int64_t>(kept) - 1, length = std::min(every, steps);
      int64_t times = 1;
      for (int64_t reach = room + 2; reach < length; ++times) reach = reach * (room + times + 2) / (times + 1);
      EXPECT_LE(known.evaluations(), times * steps) << steps << ", every " << every;
    }
  }
}

// Of a stage whose steps all want their states: the forward pass keeps those from which the others are soon replayed.
TEST(KnownStates, OfAllStepsAreReplayedWithFewEvaluations) {
  const std::vector<std::pair<int64_t, int64_t>> most_replays{{4, 0},  {9, 1},   {22, 1},  {35, 2},
                                                              {64, 2}, {119, 3}, {1000, 5}};
  for (const auto& [steps, replays] : most_replays) {
    Choices choices(static_cast<size_t>(steps));
    for (StepChoice& choice : choices) choice.way = Way::exact;
    Counting functions;
    const Recursion recursion{find_solver("euler"), functions, steps, 1.0};
    StoredStates stored;
    for (const int64_t n : kept_steps(choices, most_states(steps, 0))) stored.states[n] = constant({2}, truth_at(n));
    KnownStates known(recursion, stored, most_states(steps, 0));
    int64_t held = known.held();
    for (int64_t n = steps; n-- > 0;) {
      EXPECT_EQ(values(known.at(n)), (std::vector<double>{truth_at(n), truth_at(n)})) << steps << ", " << n;
      held = std::max(held, known.held());
      known.leave(n);
    }
    EXPECT_LE(held, most_states(steps, 0)) << steps;
    // x_1 is one step from x_0, and no state is kept for it.
    EXPECT_LE(known.evaluations(), replays * steps + 1) << steps;
  }
}

TEST(KnownStates, LeaveThoseOfAGraphInTheirPlace) {
  Counting functions;
  const Recursion recursion{find_solver("euler"), functions, 4, 1.0};
  for (const bool kept : {false, true}) {
    StoredStates stored;
    stored.kept = kept;
    stored.states[0] = constant({2}, 0);
    KnownStates known(recursion, stored, most_states(recursion.steps, 0));
    EXPECT_EQ(known.distance(3), 3);
    known.at(3);
    EXPECT_EQ(known.distance(3), 0);
    EXPECT_EQ(stored.states.size(), kept ? 1u : 0u);
  }
}

}  // namespace
}  // namespace resnet_nodes
