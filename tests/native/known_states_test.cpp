// known_states_test.cpp: states of a way back that are kept or replayed: exact, in order, and few at a time.
#include "walk/states/known_states.h"

#include "truth.h"

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

TEST(KnownStates, AreExactAndNoMoreThanCheckpointsAtATime) {
  for (const int64_t steps : {1, 2, 3, 4, 7, 16, 22, 64, 100, 1000}) {
    for (const int64_t every : {int64_t{1} << 20, static_cast<int64_t>(std::sqrt(static_cast<double>(steps)))}) {
      Counting functions;
      const Recursion recursion{find_solver("euler"), functions, steps, 1.0};
      StoredStates stored;
      for (int64_t n = 0; n < steps; n += every) stored.states[n] = constant({2}, truth_at(n));
      KnownStates known(recursion, stored);
      int64_t held = 0;
      for (int64_t n = steps; n-- > 0;) {
        const StateSource source = n % every == 0 ? StateSource::kept : StateSource::replayed;
        EXPECT_EQ(values(known.at(n)), (std::vector<double>{truth_at(n), truth_at(n)})) << steps << ", " << n;
        EXPECT_EQ(known.source(n), source);
        held = std::max(held, known.held());
        known.leave(n);
      }
      EXPECT_LE(held, most_states(steps)) << steps << ", every " << every;
      EXPECT_EQ(known.evaluations(), functions.evaluations);
      // Once through, and where nothing was kept between, once more through all but the last part of it.
      EXPECT_LE(known.evaluations(), (every < steps ? 1 : 2) * steps);
    }
  }
}

TEST(KnownStates, LeaveThoseOfAGraphInTheirPlace) {
  Counting functions;
  const Recursion recursion{find_solver("euler"), functions, 4, 1.0};
  for (const bool kept : {false, true}) {
    StoredStates stored;
    stored.kept = kept;
    stored.states[0] = constant({2}, 0);
    KnownStates known(recursion, stored);
    EXPECT_EQ(known.distance(3), 3);
    known.at(3);
    EXPECT_EQ(known.distance(3), 0);
    EXPECT_EQ(stored.states.size(), kept ? 1u : 0u);
  }
}

}  // namespace
}  // namespace resnet_nodes
