// walk_back_test.cpp: orders of the gradient's error, fitted over N, from one table.
#include <algorithm>

#include "resnet_nodes/error.h"
#include "tanh_problem.h"
#include "truth.h"
#include "walk/plans.h"

namespace resnet_nodes {
namespace {

using namespace truth;

// The weights W_n alone: B is shared by all, and its error would be a mean of the others'.
std::vector<double> weight_gradients(const Outcome& outcome) {
  std::vector<Tensor> weights;
  for (size_t i = 0; i < outcome.gradients.size(); i += 2) weights.push_back(outcome.gradients[i]);
  return values(weights);
}

double gradient_error(const Problem& problem, StageOptions options) {
  const std::vector<double> found = weight_gradients(run(problem, options));
  options.reconstruction = ReconstructionKind::backprop;
  options.count = 0;
  return relative_error(found, weight_gradients(run(problem, options)));
}

struct Row {
  std::string solver;
  ReconstructionKind kind;
  int64_t count;
  bool smooth;
  double slope;      // expected
  double tolerance;  // of the slope
};

// Smooth weights: the order, within 0.15. Rough weights: the tables of docs/reconstructions.md; one draw of rough
// weights scatters more.
const std::vector<Row>& rows() {
  using enum ReconstructionKind;
  static const std::vector<Row> table{
      {"euler", inverse, 0, true, -1, 0.15},      {"euler", corrected, 1, true, -2, 0.15},
      {"euler", corrected, 2, true, -3, 0.15},    {"euler", corrected, 3, true, -4, 0.15},
      {"euler", extrapolated, 2, true, -3, 0.15}, {"euler", extrapolated, 3, true, -4, 0.15},
      {"heun", inverse, 0, true, -3, 0.15},       {"heun", corrected, 2, true, -3, 0.15},
      {"heun", extrapolated, 2, true, -3, 0.15},  {"euler", inverse, 0, false, -1.3, 0.4},
      {"euler", corrected, 1, false, -2, 0.3},    {"euler", corrected, 2, false, -3, 0.3},
      {"heun", corrected, 2, false, -3, 0.3},     {"midpoint", corrected, 2, true, -3, 0.15},
  };
  return table;
}

class Orders : public testing::TestWithParam<size_t> {};

TEST_P(Orders, GradientErrorFallsAsStated) {
  const Row& row = rows()[GetParam()];
  std::vector<double> depths, errors;
  for (const int64_t depth : {32, 64, 128, 256}) {
    StageOptions options;
    options.solver = row.solver;
    options.reconstruction = row.kind;
    options.count = row.count;
    depths.push_back(static_cast<double>(depth));
    errors.push_back(gradient_error(tanh_problem(depth, row.smooth), options));
  }
  EXPECT_NEAR(fitted_slope(depths, errors), row.slope, row.tolerance) << errors[0] << " ... " << errors[3];
}

INSTANTIATE_TEST_SUITE_P(All, Orders, testing::Range(size_t{0}, rows().size()));

// What the table says of a method is what is measured, with its default count.
TEST(Plans, OrdersAreThoseOfTheTable) {
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    if (!plan.memory_free || plan.kind == ReconstructionKind::adaptive) continue;  // as exact as it is asked for
    const auto has_row = [&](const Row& row) {
      return row.solver == "euler" && row.kind == plan.kind && row.smooth &&
             row.slope == -static_cast<double>(plan.order) && (row.count == plan.default_count || row.count == 0);
    };
    EXPECT_TRUE(std::any_of(rows().begin(), rows().end(), has_row)) << plan.name << " has no row with its order";
  }
}

// Kinds are numbered from 0 without gaps.
TEST(Plans, EveryKindIsListedOnce) {
  std::vector<int> kinds;
  for (const ReconstructionPlan& plan : reconstruction_plans()) kinds.push_back(static_cast<int>(plan.kind));
  std::sort(kinds.begin(), kinds.end());
  for (size_t i = 0; i < kinds.size(); ++i) EXPECT_EQ(kinds[i], static_cast<int>(i));
  EXPECT_THROW(find_plan(static_cast<ReconstructionKind>(kinds.size())), Error);
}

TEST(Plans, RefuseCountsThatTheyHaveNoUseFor) {
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    StageOptions options;
    options.reconstruction = plan.kind;
    options.count = plan.most_count > 0 ? plan.most_count + 1 : plan.least_count == 0 ? 1 : -1;
    EXPECT_THROW(check_options(options), Error) << plan.name;
    options.count = plan.least_count;
    EXPECT_NO_THROW(check_options(options)) << plan.name;
  }
}

// Every solver x reconstruction, iterated until it is exact, must give the stored gradient.
TEST(Reconstruction, ConvergedMethodsGiveTheStoredGradient) {
  for (const std::string& solver : solver_names()) {
    for (const bool shared : {false, true}) {
      for (const bool training : {true, false}) {
        const int64_t depth = 24;
        const Problem problem = make_problem(std::vector<FunctionSpec>(shared ? 1 : depth, tiny_function(4)), depth,
                                             {3, 4, 6, 6}, 11, training);
        StageOptions options;
        options.solver = solver;
        options.reconstruction = ReconstructionKind::backprop;
        const Outcome truth = run(problem, options);
        const auto check = [&](ReconstructionKind kind, int64_t count, double tolerance, const char* name) {
          SCOPED_TRACE(std::string(name) + ", " + solver + (shared ? ", shared" : "") +
                       (training ? ", training" : ", evaluation"));
          options.reconstruction = kind;
          options.count = count;
          options.tolerance = tolerance;
          const Outcome found = run(problem, options);
          EXPECT_EQ(values(found.output), values(truth.output));
          EXPECT_LT(relative_error(values(found.input_gradient), values(truth.input_gradient)), 1e-9);
          EXPECT_LT(relative_error(values(found.gradients), values(truth.gradients)), 1e-9);
        };
        check(ReconstructionKind::checkpoint, 0, 0.1, "checkpoint");
        check(ReconstructionKind::checkpoint, 5, 0.1, "checkpoint:5");
        check(ReconstructionKind::checkpoint, 100, 0.1, "checkpoint:100");
        check(ReconstructionKind::corrected, 40, 0.1, "corrected:40");
        check(ReconstructionKind::adaptive, 60, 1e-11, "adaptive:1e-11");
      }
    }
  }
}

TEST(Reconstruction, StoredGradientIsTheDerivative) {
  for (const std::string& solver : solver_names()) {
    for (const bool shared : {false, true}) {
      SCOPED_TRACE(solver + (shared ? ", shared" : ""));
      const Problem problem =
          make_problem(std::vector<FunctionSpec>(shared ? 1 : 4, tiny_function(3)), 4, {3, 3, 5, 5}, 5);
      StageOptions options;
      options.solver = solver;
      options.reconstruction = ReconstructionKind::backprop;
      Generator generator(2);
      expect_finite_differences(problem, options, run(problem, options), generator);
    }
  }
}

TEST(Reconstruction, ErrorOfTheInputIsReportedOnRequest) {
  StageOptions options;
  options.keep_input = true;
  options.reconstruction = ReconstructionKind::inverse;
  const double inverse = run(tanh_problem(64, true), options).report.reconstruction_error;
  options.reconstruction = ReconstructionKind::corrected;
  const double corrected = run(tanh_problem(64, true), options).report.reconstruction_error;
  EXPECT_GT(inverse, 1e-5);
  EXPECT_GT(corrected, 0);
  EXPECT_LT(corrected, inverse / 10);
  options.keep_input = false;
  EXPECT_EQ(run(tanh_problem(64, true), options).report.reconstruction_error, -1);
}

}  // namespace
}  // namespace resnet_nodes
