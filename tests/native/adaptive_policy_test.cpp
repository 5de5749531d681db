// adaptive_policy_test.cpp: what adaptive decides, from figures whose right answer is known.
#include <cmath>
#include <limits>

#include "truth.h"
#include "walk/adaptive/learned.h"
#include "walk/adaptive/policy.h"

namespace resnet_nodes {
namespace {

using namespace truth;

constexpr double kUnit = std::numeric_limits<float>::epsilon();

// Norms of a step: of x~ - out, of the increment, of the state, of x~ - y; of what extrapolation would have foreseen.
struct Figures {
  double difference, increment, state, moved, foreseen = 0;

  StepChoice next(const StepChoice& choice, const AdaptivePolicy& policy) const {
    const double correction[] = {difference * difference, increment * increment, state * state, moved * moved};
    const double foresight[] = {foreseen * foreseen, foreseen > 0 ? 1.0 : 0.0, 0, 0};
    return next_choice(choice, {correction, foresight}, kUnit, policy);
  }
};

TEST(AdaptivePolicy, ResidualIsRelativeToTheIncrement) {
  EXPECT_DOUBLE_EQ(relative_residual(0.04, 4.0), 0.1);
  EXPECT_EQ(relative_residual(0, 0), 0);
  EXPECT_EQ(relative_residual(1e-30, 0), std::numeric_limits<double>::infinity());
}

TEST(AdaptivePolicy, RoundingIsAFewUnitsOfTheState) {
  const double state = 100.0 * 100.0;
  EXPECT_TRUE(is_rounding(std::pow(4 * kUnit * 100, 2), state, kUnit));
  EXPECT_FALSE(is_rounding(std::pow(5 * kUnit * 100, 2), state, kUnit));
  EXPECT_TRUE(is_rounding(0, 0, kUnit));
}

// A linear map x -> a x: x~ <- y - a x~ moves x~ by a times the distance that it moved before.
TEST(AdaptivePolicy, FixedPointRepelsFromALipschitzConstantOfOne) {
  for (const double a : {0.3, 0.9, 0.999, 1.0, 1.001, 3.0}) {
    const double moved = 2.0, difference = a * moved;
    EXPECT_EQ(AdaptivePolicy::repels(difference * difference, moved * moved), a >= 1) << a;
  }
  EXPECT_TRUE(AdaptivePolicy::repels(std::numeric_limits<double>::quiet_NaN(), 1)) << "what is no number leads nowhere";
}

TEST(AdaptivePolicy, LearnsOneIterationAtATimeUpToItsLimit) {
  const AdaptivePolicy policy{0.1, 3};
  const Figures far{0.5, 1, 10, 2};
  StepChoice choice;
  for (const int64_t expected : {2, 3, 4, 4}) {
    choice = far.next(choice, policy);
    EXPECT_EQ(choice.iterations, expected);
  }
}

// Residuals fall by the same factor with each evaluation: after k iterations 0.2^(k + 1) is left.
TEST(AdaptivePolicy, GivesUpAnIterationWhereOneLessSettles) {
  const AdaptivePolicy policy{0.1, 6};
  for (int64_t k = 2; k <= 5; ++k) {
    StepChoice choice;
    choice.iterations = k;
    const auto left = [](int64_t iterations) { return std::pow(0.2, static_cast<double>(iterations + 1)); };
    const bool settles = left(k - 1) < policy.tolerance / 2;
    EXPECT_EQ(policy.one_less_settles(left(k), k), settles) << k;
    EXPECT_EQ((Figures{left(k), 1, 1, 1}.next(choice, policy).iterations), settles ? k - 1 : k) << k;
  }
}

TEST(AdaptivePolicy, ExtrapolatesWhereThatWouldHaveBeenTheBetterStart) {
  const AdaptivePolicy policy{0.1, 6};
  StepChoice looking;
  ASSERT_TRUE(looking.looks());
  EXPECT_TRUE((Figures{0.01, 1, 10, 1, 0.49}.next(looking, policy).extrapolate));
  const StepChoice not_yet = Figures{0.01, 1, 10, 1, 0.51}.next(looking, policy);
  EXPECT_FALSE(not_yet.extrapolate);
  EXPECT_EQ(not_yet.wait, AdaptivePolicy::kLookAgain);
  StepChoice extrapolating;
  extrapolating.extrapolate = true, extrapolating.iterations = 0;
  EXPECT_TRUE((Figures{0.3, 1, 10, 1}.next(extrapolating, policy).extrapolate)) << "helps, with an iteration more";
  const StepChoice surprised = Figures{0.6, 1, 10, 1}.next(extrapolating, policy);
  EXPECT_FALSE(surprised.extrapolate);
  EXPECT_EQ(surprised.iterations, 1);
}

TEST(AdaptivePolicy, StandsStillWhereTheFixedPointRepelsAndTriesAgainLater) {
  const AdaptivePolicy policy{0.1, 6};
  StepChoice choice = Figures{3, 1, 10, 1}.next(StepChoice(), policy);
  ASSERT_TRUE(choice.keep);
  int64_t passes = 0;
  while (choice.keep) {
    choice = Figures{3, 1, 10, 0}.next(choice, policy);
    ++passes;
  }
  EXPECT_EQ(passes, AdaptivePolicy::kLookAgain + 1);
  EXPECT_EQ(choice.iterations, 1);
}

}  // namespace
}  // namespace resnet_nodes
