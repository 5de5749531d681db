// adaptive_policy_test.cpp: what adaptive estimates and decides, from figures whose right answer is known.
#include <cmath>
#include <limits>

#include "truth.h"
#include "walk/adaptive/estimate.h"
#include "walk/adaptive/learned.h"
#include "walk/states/known_states.h"

namespace resnet_nodes {
namespace {

using namespace truth;

constexpr double kUnit = std::numeric_limits<double>::epsilon();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(AdaptivePolicy, ErrorsAreRelative) {
  EXPECT_DOUBLE_EQ(resnet_nodes::relative_error(0.04, 4.0), 0.1);
  EXPECT_EQ(resnet_nodes::relative_error(0, 0), 0);
  EXPECT_EQ(resnet_nodes::relative_error(1e-30, 0), kInfinity);
}

// Phi(x) = a x in one dimension, x = 1: everything that a step measures is known.
struct Line {
  double a;
  double y = 0;     // 1 + a where it is exact
  double at = 0;    // x~
  StepNorms norms;  // of the correction there

  explicit Line(double slope, double error_of_y = 0) : a(slope), y(1 + slope + error_of_y), at(y) { correct(); }
  void correct() {
    const double out = y - a * at;
    norms = {(at - out) * (at - out), a * a * at * at, out * out};
  }
  void iterate() {
    at = y - a * at;
    correct();
  }
  double error() const { return std::abs(at - 1); }
};

TEST(ErrorEstimate, BoundsTheErrorOfAFixedPoint) {
  for (const double a : {-0.9, -0.5, -0.1, -0.01, 0.01, 0.1, 0.5, 0.9}) {
    const ErrorEstimate estimate(kUnit);
    Line line(a);
    for (int64_t k = 1; k <= 3; ++k) {
      const StepNorms before = line.norms;
      line.iterate();
      const double q = estimate.contraction(before, line.norms);
      EXPECT_NEAR(q, std::abs(a), 1e-9);
      // What a residual tells: exactly the error where the map contracts, more where it alternates.
      const double relative = line.error() / std::sqrt(line.norms.state), found = estimate.at(line.norms, q);
      EXPECT_GE(found, relative * (1 - 1e-9)) << a;
      EXPECT_LE(found, relative * (1 + std::abs(a)) / (1 - std::abs(a)) * (1 + 1e-9)) << a;
      // The same from the correction alone: exactly where the map contracts, else on the safe side.
      if (a < 0 && k == 1) {
        EXPECT_NEAR(estimate.contraction(line.norms, k), q, 1e-9) << a;
      }
      if (std::abs(a) < 0.3) {
        EXPECT_NEAR(estimate.contraction(line.norms, k), q, 3 * a * a) << a;
      }
    }
  }
}

TEST(ErrorEstimate, KnowsHowManyIterationsAreMissing) {
  for (const double a : {-0.5, -0.1, 0.2, 0.6}) {
    for (const double tolerance : {1e-2, 1e-4, 1e-6}) {
      const ErrorEstimate estimate(kUnit);
      Line line(a);
      line.iterate();
      const int64_t missing = estimate.missing(line.norms, std::abs(a), tolerance);
      for (int64_t k = 0; k < missing; ++k) {
        EXPECT_GT(estimate.at(line.norms, std::abs(a)), tolerance * 0.6) << a << ", " << k;
        line.iterate();
      }
      EXPECT_LE(estimate.at(line.norms, std::abs(a)), tolerance * 1.6) << a;
    }
  }
  EXPECT_EQ(ErrorEstimate(kUnit).missing({1, 1, 1}, 1.0, 1e-3), -1) << "the fixed point repels";
  EXPECT_EQ(ErrorEstimate(kUnit).at({1, 1, 1}, 1.0), kInfinity);
  EXPECT_EQ(ErrorEstimate(kUnit).at({1, 1, 1}, std::numeric_limits<double>::quiet_NaN()), kInfinity);
  EXPECT_EQ(ErrorEstimate(1e-2).missing({0, 1, 1}, 0.1, 1e-3), -1) << "the state's own rounding is more than that";
}

TEST(ErrorEstimate, WhatIsRoundingShowsNoContraction) {
  const ErrorEstimate estimate(1e-7);
  EXPECT_EQ(estimate.contraction({1e-14, 1e-14, 1}, 1), 0);
  EXPECT_NEAR(estimate.contraction({1e-10, 1e-8, 1}, 1), 0.1, 0.02);
  EXPECT_NEAR(estimate.contraction({1e-12, 1e-8, 1}, 2), 0.1, 0.02);
  EXPECT_EQ(estimate.contraction({0, 0, 1}, 1), 0);
}

// Errors of different steps have directions of their own: their squares add up, and a known state ends them.
TEST(ErrorEstimate, CarriesErrorsAlong) {
  const double left = 1e-6, q = 1e-3;
  ErrorEstimate estimate(kUnit);
  for (int n = 0; n < 100; ++n) estimate.carry({left * left, 1e-6, 1}, q);
  const double alone = estimate.at({0, 1, 1}, q);
  EXPECT_NEAR(alone, 10 * left * q, 0.02 * alone);
  estimate.know();
  EXPECT_EQ(estimate.at({0, 1, 1}, 0), kUnit / 2);
  estimate.carry({1, 1, 1}, 1.5);
  EXPECT_EQ(estimate.at({0, 1, 1}, q), kInfinity);
}

StepFindings found_with(double error, double iterated = -1, double foreseen = -1) {
  StepFindings found;
  found.error = error, found.iterated = iterated, found.foreseen = foreseen;
  return found;
}

TEST(AdaptivePolicy, KeepsWhatItCannotFindAndGivesItUpWithRoomToSpare) {
  const AdaptivePolicy policy{1e-3, 6};
  StepFindings dear = found_with(1e-4);
  dear.dear = true;
  StepChoice choice = next_choice(StepChoice(), dear, policy);
  ASSERT_EQ(choice.way, Way::exact);
  int64_t waited = 0;
  for (; !choice.is_due(); ++waited) choice = next_choice(choice, StepFindings(), policy);
  EXPECT_EQ(waited, AdaptivePolicy::kFirstWait);
  EXPECT_EQ(next_choice(choice, found_with(0, 0.6e-3), policy).way, Way::exact);
  const StepChoice released = next_choice(choice, found_with(0, 0.4e-3), policy);
  EXPECT_EQ(released.way, Way::iterate);
  // Kept anew, it waits longer: no flapping.
  choice = next_choice(released, dear, policy);
  EXPECT_EQ(choice.wait, 2 * AdaptivePolicy::kFirstWait);
  for (int i = 0; i < 20; ++i) choice = next_choice({Way::iterate, 0, choice.patience}, dear, policy);
  EXPECT_EQ(choice.wait, AdaptivePolicy::kLongestWait);
}

TEST(AdaptivePolicy, ASampleCountsWhereItContradictsTheEstimate) {
  EXPECT_EQ(AdaptivePolicy::error(1e-3, 1.4e-3), 1e-3);
  EXPECT_EQ(AdaptivePolicy::error(1e-3, 1e-4), 1e-3);
  EXPECT_EQ(AdaptivePolicy::error(1e-3, 0.5), 0.5);
  EXPECT_EQ(AdaptivePolicy::error(kInfinity, 0.5), kInfinity);
}

TEST(AdaptivePolicy, AStepThatAReplayCameByIsLookedAtAtOnce) {
  StepFindings found;
  found.suspected = true;
  const StepChoice choice = next_choice(StepChoice(), found, {1e-3, 6});
  EXPECT_EQ(choice.way, Way::exact);
  EXPECT_TRUE(choice.is_due());
}

TEST(AdaptivePolicy, LateFiguresDecideTheNextPass) {
  const AdaptivePolicy policy = AdaptivePolicy{4e-3, 6}.late();
  EXPECT_EQ(next_choice(StepChoice(), found_with(0.9e-3), policy).way, Way::iterate);
  EXPECT_EQ(next_choice(StepChoice(), found_with(1.1e-3), policy).way, Way::exact);
  const StepChoice foresees = next_choice(StepChoice(), found_with(1e-4, -1, 0.4e-3), policy);
  EXPECT_EQ(foresees.way, Way::foresee);
  EXPECT_EQ(next_choice(StepChoice(), found_with(1e-4, -1, 0.6e-3), policy).way, Way::iterate);
  EXPECT_EQ(next_choice(foresees, found_with(0.9e-3), policy).way, Way::foresee);
  EXPECT_EQ(next_choice(foresees, found_with(1.1e-3), policy).way, Way::iterate);
}

TEST(KeptSteps, AreThoseThatWantTheirsWhileTheyAreFew) {
  Generator generator(3);
  for (const int64_t steps : {1, 2, 3, 4, 5, 9, 16, 22, 64, 100}) {
    for (const double share : {0.0, 0.1, 0.3, 0.7, 1.0}) {
      Choices choices(static_cast<size_t>(steps));
      std::vector<int64_t> wanted;
      for (int64_t n = 0; n < steps; ++n) {
        if (std::uniform_real_distribution()(generator) >= share) continue;
        choices[static_cast<size_t>(n)].way = Way::exact;
        if (n > 1) wanted.push_back(n);
      }
      const double most = std::min(7.0, std::floor(2 * std::sqrt(static_cast<double>(steps))));
      const std::vector<int64_t> kept = kept_steps(choices, static_cast<int64_t>(most));
      ASSERT_EQ(kept.front(), 0);
      EXPECT_LE(static_cast<double>(kept.size()), most);
      EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
      for (size_t i = 1; i < kept.size(); ++i) {
        EXPECT_EQ(std::count(wanted.begin(), wanted.end(), kept[i]), 1);
        EXPECT_LT(kept[i - 1], kept[i]);
      }
      if (kept.size() < 1 + wanted.size()) {
        EXPECT_EQ(kept.size(), static_cast<size_t>(std::max(1.0, std::floor(most / 2))));
      }
    }
  }
}

}  // namespace
}  // namespace resnet_nodes
