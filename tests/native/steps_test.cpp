// steps_test.cpp: the fused steps on tensors of any layout and dtype.
#include "steps.h"

#include "operators.h"
#include "resnet_nodes/error.h"
#include "truth.h"

namespace resnet_nodes {
namespace {

using namespace truth;

std::vector<double> expected_sum(const Tensor& x, const Tensor& f, double a) {
  std::vector<double> result = values(x);
  const std::vector<double> slope = values(f);
  for (size_t i = 0; i < result.size(); ++i) result[i] += a * slope[i];
  return result;
}

TEST(Steps, KeepTheLayoutOfTheirFirstArgument) {
  Generator generator(1);
  const Tensor x = normal({2, 5, 7, 6}, generator), f = normal({2, 5, 7, 6}, generator);
  const Tensor images = state_layout(x);
  ASSERT_NE(images.stride(1), x.stride(1));
  const Tensor result = add_scaled(images, f, 0.5);
  EXPECT_EQ(result.stride(1), images.stride(1));
  EXPECT_LT(relative_error(values(result), expected_sum(x, f, 0.5)), 1e-15);
}

TEST(Steps, TakeTensorsWithGaps) {
  Generator generator(2);
  const Tensor whole = normal({8, 6}, generator), f = normal({8, 3}, generator);
  Tensor source = whole;
  const Tensor x = torch::stable::narrow(source, 1, 1, 3);
  EXPECT_LT(relative_error(values(add_scaled(x, f, -2.0)), expected_sum(x, f, -2.0)), 1e-15);
  const std::vector<double> expected = expected_sum(x, f, 1.0);
  add_scaled(x, f, 1.0, x);
  EXPECT_LT(relative_error(values(x), expected), 1e-15);
}

TEST(Steps, NarrowTypesGoByOperators) {
  Generator generator(3);
  const Tensor x = normal({64, 8}, generator), f = normal({64, 8}, generator), p = normal({64, 8}, generator);
  const auto half = [](const Tensor& t) { return torch::stable::to(t, ScalarType::BFloat16); };
  const double u = 4e-3;
  EXPECT_LT(relative_error(values(add_scaled(half(x), half(f), 0.25)), expected_sum(x, f, 0.25)), 3 * u);
  StepNorms narrow, wide;
  EXPECT_LT(
      relative_error(values(correct(half(x), half(f), half(p), 0.25, narrow)), values(correct(x, f, p, 0.25, wide))),
      3 * u);
  EXPECT_NEAR(narrow.difference, wide.difference, 6 * u * wide.difference);
  EXPECT_NEAR(narrow.reference, wide.reference, 6 * u * wide.reference);
  EXPECT_LT(relative_error(values(extrapolate(half(x), {half(f), half(p)}, {2, -1}, 0.25)),
                           values(extrapolate(x, {f, p}, {2, -1}, 0.25))),
            6 * u);
}

TEST(Steps, GiveEqualBitsWithAnyNumberOfThreads) {
  Generator generator(4);
  const Tensor x = normal({50, 4001}, generator), f = normal({50, 4001}, generator), p = normal({50, 4001}, generator);
  StepNorms many, one;
  const std::vector<double> first = values(correct(x, f, p, 0.1, many));
  std::vector<double> second;
  // Inside of a parallel region LibTorch's loops run on the one thread that calls them.
  torch::stable::parallel_for(0, 1, 1, [&](int64_t, int64_t) { second = values(correct(x, f, p, 0.1, one)); });
  EXPECT_EQ(first, second);
  EXPECT_EQ(many.difference, one.difference);
  EXPECT_EQ(many.reference, one.reference);
}

TEST(Steps, RefuseUnequalShapes) {
  Generator generator(5);
  const Tensor x = normal({2, 3}, generator), f = normal({3, 2}, generator);
  EXPECT_THROW(add_scaled(x, f, 1.0), Error);
  EXPECT_THROW(add_scaled(x, Tensor(), 1.0), Error);
  EXPECT_THROW(distance(x, torch::stable::to(x, ScalarType::Float)), Error);
}

}  // namespace
}  // namespace resnet_nodes
