// steps_test.cpp: the fused steps on tensors of any layout and dtype.
#include "steps.h"

#include <cmath>
#include <string>

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

template <typename Step>
std::string message_of(const Step& step) {
  try {
    step();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Steps, NameTheArgumentThatDoesNotFit) {
  Generator generator(6);
  // Both ways: float64 goes by kernels, bfloat16 by operators, which would broadcast and convert.
  for (const ScalarType type : {ScalarType::Double, ScalarType::BFloat16}) {
    const Tensor x = torch::stable::to(normal({4, 6}, generator), type);
    const Tensor row = torch::stable::to(normal({1, 6}, generator), type);
    const Tensor wide = torch::stable::to(x, ScalarType::Float);
    const std::string name = dtype_text(x), like = name + " [4, 6] on cpu like ";
    StepNorms norms;
    EXPECT_EQ(message_of([&] { add_scaled(x, row, 1.0); }),
              "add_scaled: f is " + name + " [1, 6] on cpu, expected " + like + "x");
    EXPECT_EQ(message_of([&] { add_scaled(x, x, 1.0, wide); }),
              "add_scaled: out is float32 [4, 6] on cpu, expected " + like + "x");
    EXPECT_EQ(message_of([&] { add_scaled_sum(x, x, row, 1.0); }),
              "add_scaled_sum: g is " + name + " [1, 6] on cpu, expected " + like + "x");
    EXPECT_EQ(message_of([&] { correct(x, x, Tensor(), 1.0, norms); }),
              "correct: predicted is undefined, expected " + like + "y");
    EXPECT_EQ(message_of([&] {
                extrapolate(x, {x, wide}, {2, -1}, 1.0);
              }),
              "extrapolate: f[1] is float32 [4, 6] on cpu, expected " + like + "y");
    EXPECT_EQ(message_of([&] { distance(x, row); }),
              "distance: reference is " + name + " [1, 6] on cpu, expected " + like + "x");
    EXPECT_EQ(message_of([&] { distance(Tensor(), x); }),
              "distance: x is undefined, expected float32, float64, bfloat16 or float16");
  }
  const Tensor x = normal({2}, generator);
  EXPECT_EQ(message_of([&] {
              extrapolate(x, {x, x, x, x}, {1, 1, 1, 1}, 1.0);
            }),
            "extrapolate: 4 slopes and 4 coefficients, expected 1 to 3 of each");
  const Tensor whole = torch::stable::to(x, ScalarType::Long);
  EXPECT_EQ(message_of([&] { add_scaled(whole, whole, 1.0); }),
            "add_scaled: x is int64 [2] on cpu, expected float32, float64, bfloat16 or float16");
}

TEST(Steps, WriteOverTheirInputsHoweverTheyOverlap) {
  Generator generator(7);
  Tensor memory = normal({40001}, generator);
  const Tensor x = torch::stable::narrow(memory, 0, 0, 40000), shifted = torch::stable::narrow(memory, 0, 1, 40000);
  const std::vector<double> expected = expected_sum(x, x, 0.5);
  add_scaled(x, x, 0.5, shifted);
  EXPECT_LT(relative_error(values(shifted), expected), 1e-15);
  Tensor square = normal({60, 60}, generator);
  const Tensor across = torch::stable::transpose(square, 0, 1);
  const std::vector<double> sum = expected_sum(square, across, 0.5);
  add_scaled(square, across, 0.5, across);
  EXPECT_LT(relative_error(values(across), sum), 1e-15);
}

// A column that is shown twice spans as much memory as it has elements, and is not what that memory holds.
TEST(Steps, ReadExpandedTensorsAsTheyAre) {
  double table[] = {0, 1, 2, 3, 4, 5};
  const Tensor x = torch::stable::from_blob(
      table, Shape{2, 2}, Shape{0, 3}, torch::stable::Device(torch::headeronly::DeviceType::CPU), ScalarType::Double);
  ASSERT_EQ(values(x), (std::vector<double>{0, 3, 0, 3}));
  EXPECT_EQ(distance(x, x).reference, 18);
  EXPECT_EQ(distance(x, truth::constant({2, 2}, 1)).difference, 10);
  EXPECT_EQ(values(add_scaled(x, x, 1.0)), (std::vector<double>{0, 6, 0, 6}));
}

TEST(Steps, TakeTensorsWithoutElements) {
  const Tensor x = truth::constant({0, 3}, 0);
  StepNorms norms{1, 1};
  EXPECT_EQ(correct(x, x, x, 1.0, norms).numel(), 0);
  EXPECT_EQ(norms.difference, 0);
  EXPECT_EQ(norms.reference, 0);
}

// float16 holds nothing below 6e-8 and steps of 1e-3 around 1: squares of what is small have to be taken in float32.
TEST(Steps, TakeSumsOfNarrowTypesInFloat32) {
  const auto half = [](double value) { return torch::stable::to(truth::constant({1000}, value), ScalarType::Half); };
  const double small = std::ldexp(1.0, -14), tiny = std::ldexp(1.0, -24);
  const StepNorms norms = distance(half(small + tiny), half(small));
  EXPECT_EQ(norms.difference, 1000 * tiny * tiny);
  EXPECT_EQ(norms.reference, 1000 * small * small);
  // 2048 + 1 has no value in float16: a difference taken there would be rounded away.
  EXPECT_EQ(distance(half(2048), half(-1)).difference, 1000 * 2049.0 * 2049.0);
}

}  // namespace
}  // namespace resnet_nodes
