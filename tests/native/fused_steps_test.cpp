// fused_steps_test.cpp: the fused steps on tensors of any layout and dtype.
#include "tensors/fused_steps.h"

#include <cmath>
#include <string>

#include "resnet_nodes/error.h"
#include "tensors/describe.h"
#include "tensors/elementwise.h"
#include "tensors/layout.h"
#include "tensors/norms.h"
#include "tensors/operators.h"
#include "tensors/relu.h"
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

// As distances have it: a pass that writes nothing is given an input in place of a result.
TEST(Steps, TakeNoMemoryForAResultThatIsNotWritten) {
  const Tensor x = constant({2, 6}, 1), y = constant({2, 6}, 2), gaps = part_of(constant({2, 8}, 3), 1, 0, 6);
  EXPECT_TRUE(same_memory(DenseArguments({{"x", x}, {"reference", y}}, x).out(), x));
  const DenseArguments beside({{"x", gaps}, {"reference", y}}, gaps);
  EXPECT_FALSE(same_memory(beside.out(), gaps));
  EXPECT_EQ(distance(gaps, y).difference, 12);
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

TEST(Steps, TakeNarrowTypes) {
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
    const std::string name = dtype_text(x), place = " on " + device_text(x), like = name + " [4, 6]" + place + " like ";
    StepNorms norms;
    EXPECT_EQ(message_of([&] { add_scaled(x, row, 1.0); }),
              "add_scaled: f is " + name + " [1, 6]" + place + ", expected " + like + "x");
    EXPECT_EQ(message_of([&] { add_scaled(x, x, 1.0, wide); }),
              "add_scaled: out is float32 [4, 6]" + place + ", expected " + like + "x");
    EXPECT_EQ(message_of([&] { add_scaled_sum(x, x, row, 1.0); }),
              "add_scaled_sum: g is " + name + " [1, 6]" + place + ", expected " + like + "x");
    EXPECT_EQ(message_of([&] { correct(x, x, Tensor(), 1.0, norms); }),
              "correct: predicted is undefined, expected " + like + "y");
    EXPECT_EQ(message_of([&] {
                extrapolate(x, {x, wide}, {2, -1}, 1.0);
              }),
              "extrapolate: f[1] is float32 [4, 6]" + place + ", expected " + like + "y");
    EXPECT_EQ(message_of([&] { distance(x, row); }),
              "distance: reference is " + name + " [1, 6]" + place + ", expected " + like + "x");
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
            "add_scaled: x is int64 [2] on " + device_text(whole) + ", expected float32, float64, bfloat16 or float16");
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
  const Tensor on_cpu = torch::stable::from_blob(
      table, Shape{6}, Shape{1}, torch::stable::Device(torch::headeronly::DeviceType::CPU), ScalarType::Double);
  const Tensor memory = on_device(on_cpu);
  const Tensor x = torch::stable::from_blob(memory.mutable_data_ptr(), Shape{2, 2}, Shape{0, 3}, memory.device(),
                                            ScalarType::Double);
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

// Elements [begin, begin + count) of drawn numbers of this type: not aligned to more than one element where begin is
// odd.
Tensor part(int64_t begin, int64_t count, ScalarType type, Generator& generator) {
  Tensor memory = torch::stable::to(normal({begin + count + 1}, generator), type);
  return torch::stable::narrow(memory, 0, begin, count);
}

// By plain loops in float64 on the numbers that the type holds; results are rounded to it once.
TEST(Steps, MatchPlainLoopsForEveryTypeTailAndAlignment) {
  const std::pair<ScalarType, double> types[] = {
      {ScalarType::Float, 6e-8}, {ScalarType::Double, 1.2e-16}, {ScalarType::BFloat16, 4e-3}, {ScalarType::Half, 5e-4}};
  const double a = 0.375;
  Generator generator(8);
  for (const auto& [type, u] : types) {
    for (const int64_t count : {0, 1, 2, 3, 7, 8, 9, 17, 1000, 140001}) {
      for (const bool together : {true, false}) {
        auto draw = [&, from = int64_t{0}]() mutable {
          return part(together ? 1 : from++ % 9, count, type, generator);
        };
        const Tensor x = draw(), f = draw(), g = draw(), k = draw();
        const std::vector<double> xs = values(x), fs = values(f), gs = values(g), ks = values(k);
        const auto expect = [&](const Tensor& found, const auto& truth, const char* step) {
          const std::vector<double> got = values(found);
          for (size_t i = 0; i < got.size(); ++i) {
            // Narrow types by operators round each intermediate result; numbers are at most about 30.
            ASSERT_NEAR(got[i], truth(i), 8 * u * 30) << step << ", " << dtype_text(x) << ", " << count << ", " << i;
          }
        };
        expect(
            add_scaled(x, f, a), [&](size_t i) { return xs[i] + a * fs[i]; }, "add_scaled");
        expect(
            add_scaled_sum(x, f, g, a), [&](size_t i) { return xs[i] + a * (fs[i] + gs[i]); }, "add_scaled_sum");
        expect(
            extrapolate(x, {f}, {1}, a), [&](size_t i) { return xs[i] - a * fs[i]; }, "extrapolate 1");
        expect(
            extrapolate(x, {f, g}, {2, -1}, a), [&](size_t i) { return xs[i] - a * (2 * fs[i] - gs[i]); },
            "extrapolate 2");
        expect(
            extrapolate(x, {f, g, k}, {3, -3, 1}, a),
            [&](size_t i) { return xs[i] - a * (3 * fs[i] - 3 * gs[i] + ks[i]); }, "extrapolate 3");
        const Tensor norms = new_norms(x);
        const Tensor found = correct_measured(x, f, g, a, norms);
        expect(
            found, [&](size_t i) { return xs[i] - a * fs[i]; }, "correct");
        const std::vector<double> out = values(found), sums = values(norms);
        double truth[kMeasuredNorms] = {};
        for (size_t i = 0; i < out.size(); ++i) {
          truth[kDifference] += (gs[i] - out[i]) * (gs[i] - out[i]);
          truth[kReference] += a * a * fs[i] * fs[i];
          truth[kState] += out[i] * out[i];
        }
        // In float32 at least, whatever the type.
        const double sum = type == ScalarType::Double ? 1e-12 : 2e-6;
        for (int which = 0; which < kMeasuredNorms; ++which) {
          EXPECT_NEAR(sums[static_cast<size_t>(which)], truth[which], sum * truth[which]) << which << ", " << count;
        }
        distance_measured(x, f, norms);
        double difference = 0, reference = 0;
        for (size_t i = 0; i < xs.size(); ++i) {
          difference += (xs[i] - fs[i]) * (xs[i] - fs[i]);
          reference += fs[i] * fs[i];
        }
        EXPECT_NEAR(values(norms)[kDifference], difference, sum * difference);
        EXPECT_NEAR(values(norms)[kReference], reference, sum * reference);
        EXPECT_NEAR(values(norms)[kState], reference, sum * reference);
      }
    }
  }
}

}  // namespace
}  // namespace resnet_nodes
