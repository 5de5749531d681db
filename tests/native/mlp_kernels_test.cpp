// mlp_kernels_test.cpp: the loops of Linear functions on every kernel path, against plain loops in float64: every
// tail of a row, of rows and of hidden numbers, on memory that no vector is aligned to.
#include "kernels/mlp/mlp_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/paths/kernel_path.h"

namespace resnet_nodes {
namespace {

// Normal numbers, the first one a float behind an aligned address; and what they are summed to.
class Numbers {
 public:
  Numbers(int64_t count, std::mt19937& generator) : memory_(static_cast<size_t>(count) + 1) {
    std::normal_distribution<float> distribution;
    for (float& value : memory_) value = distribution(generator);
  }
  float* data() { return memory_.data() + 1; }
  double operator[](int64_t i) const { return static_cast<double>(memory_[static_cast<size_t>(i) + 1]); }

 private:
  std::vector<float> memory_;
};

// Sums of k products of normal numbers: sqrt(k) u in the mean, and a factor 10 for the largest of many.
double bound(int64_t k) { return 10 * std::sqrt(static_cast<double>(k)) * 6e-8 * 10; }

class MlpKernelsTest : public testing::TestWithParam<const KernelPath*> {};

void compare(const KernelPath& path, const MlpShape& s, int64_t rows, std::mt19937& generator) {
  SCOPED_TRACE(std::string(path.name) + ", width " + std::to_string(s.width) + ", hidden " + std::to_string(s.hidden) +
               ", rows " + std::to_string(rows));
  const MlpKernels& loops = path.mlp;
  const int64_t states = rows * s.width, hiddens = rows * s.columns;
  Numbers x(states, generator), y(states, generator), base(states, generator), weights(s.columns * s.pitch, generator),
      hidden(hiddens, generator), hidden_bias(s.columns, generator), bias(s.pitch, generator), out(states, generator),
      slope(states, generator), dots(hiddens, generator), sums(s.columns * s.pitch, generator),
      total(s.pitch, generator);
  const Numbers sums_before = sums, total_before = total;
  const double a = 0.25;
  double off = 0;
  loops.dots(dots.data(), x.data(), weights.data(), hidden_bias.data(), rows, s);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < s.hidden; ++c) {
      double expected = hidden_bias[c];
      for (int64_t i = 0; i < s.width; ++i) expected += x[r * s.width + i] * weights[c * s.pitch + i];
      off = std::max(off, std::abs(dots[r * s.columns + c] - expected));
    }
  }
  EXPECT_LT(off, bound(s.width)) << "dots";

  const auto f = [&](int64_t r, int64_t i, bool biased) {
    double value = biased ? bias[i] : 0;
    for (int64_t c = 0; c < s.hidden; ++c) value += hidden[r * s.columns + c] * weights[c * s.pitch + i];
    return value;
  };
  const auto worst = [&](const auto& error) {
    double largest = 0;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < s.width; ++i) largest = std::max(largest, std::abs(error(r, i, r * s.width + i)));
    }
    return largest;
  };
  loops.combine(out.data(), base.data(), hidden.data(), weights.data(), bias.data(), a, rows, s);
  EXPECT_LT(worst([&](int64_t r, int64_t i, int64_t at) { return out[at] - base[at] - a * f(r, i, true); }),
            bound(s.hidden))
      << "combine";
  loops.combine(out.data(), nullptr, hidden.data(), weights.data(), nullptr, a, rows, s);
  EXPECT_LT(worst([&](int64_t r, int64_t i, int64_t at) { return out[at] - a * f(r, i, false); }), bound(s.hidden))
      << "combine without base and bias";

  for (const bool keeps : {true, false}) {
    StepNorms expected;
    const StepNorms norms = loops.correct(out.data(), keeps ? slope.data() : nullptr, y.data(), x.data(), hidden.data(),
                                          weights.data(), bias.data(), a, rows, s);
    const double largest = worst([&](int64_t r, int64_t i, int64_t at) {
      const double step = a * f(r, i, true), found = y[at] - step;
      expected.difference += (x[at] - found) * (x[at] - found);
      expected.reference += step * step;
      return std::max(std::abs(out[at] - found), std::abs(slope[at] - f(r, i, true)));
    });
    EXPECT_LT(largest, bound(s.hidden)) << "correct";
    EXPECT_NEAR(norms.difference, expected.difference, 1e-5 * expected.difference);
    EXPECT_NEAR(norms.reference, expected.reference, 1e-5 * expected.reference);
  }

  loops.outer(sums.data(), total.data(), hidden.data(), x.data(), rows, s);
  const int64_t end = (s.width + path.mlp.lanes - 1) / path.mlp.lanes * path.mlp.lanes;
  double off_sums = 0;
  for (int64_t i = 0; i < s.width; ++i) {
    const int64_t place = i < end - path.mlp.lanes ? i : i + end - s.width;
    double plain = total_before[place];
    for (int64_t r = 0; r < rows; ++r) plain += x[r * s.width + i];
    off_sums = std::max(off_sums, std::abs(total[place] - plain));
    for (int64_t c = 0; c < s.hidden; ++c) {
      double expected = sums_before[c * s.pitch + place];
      for (int64_t r = 0; r < rows; ++r) expected += hidden[r * s.columns + c] * x[r * s.width + i];
      off_sums = std::max(off_sums, std::abs(sums[c * s.pitch + place] - expected));
    }
  }
  EXPECT_LT(off_sums, bound(rows + 1)) << "outer";

  Numbers columns(s.columns, generator);
  const Numbers before = columns;
  loops.add_rows(columns.data(), hidden.data(), rows, s);
  for (int64_t c = 0; c < s.columns; ++c) {
    double expected = before[c];
    for (int64_t r = 0; r < rows; ++r) expected += hidden[r * s.columns + c];
    EXPECT_NEAR(columns[c], expected, bound(rows + 1)) << "add_rows";
  }
}

TEST_P(MlpKernelsTest, MatchPlainLoops) {
  std::mt19937 generator(3);
  const auto between = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(generator);
  };
  for (int64_t width = 16; width <= 90; ++width) {
    MlpShape s;
    s.width = width;
    s.hidden = between(1, 21);
    s.columns = (s.hidden + 3) / 4 * 4;
    s.pitch = (width + 15) / 16 * 16 + between(0, 3);
    compare(*GetParam(), s, between(1, 15), generator);
  }
}

// By magnitude from what tanh hardly bends to where it is 1, signs and kinds of numbers that are none.
TEST_P(MlpKernelsTest, ActivationsMatchTheLibrary) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNone = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> inputs{0.0f, -0.0f, 0.625f, 9.0f, 88.0f, 1e30f, kInfinity, kNone};
  for (float size = 1e-38f; size < 20; size *= 1.003f) inputs.push_back(size);
  for (size_t i = inputs.size(); i-- > 0;) inputs.push_back(-inputs[i]);
  while (inputs.size() % 4 != 0) inputs.push_back(0.5f);
  // A count that leaves a tail for every register's width.
  if (inputs.size() % 16 == 0) inputs.insert(inputs.end(), 4, 0.25f);
  const auto count = static_cast<int64_t>(inputs.size());
  std::vector<float> found = inputs, rectified = inputs, slopes(inputs.size(), 2.0f), steps = slopes;
  const MlpKernels& loops = GetParam()->mlp;
  loops.activate[kTanh](found.data(), count);
  loops.activate[kRelu](rectified.data(), count);
  loops.differentiate[kTanh](slopes.data(), found.data(), 0.5, count);
  loops.differentiate[kRelu](steps.data(), rectified.data(), 0.5, count);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const double x = static_cast<double>(inputs[i]), expected = std::tanh(x);
    if (std::isnan(inputs[i])) {
      EXPECT_TRUE(std::isnan(found[i]) && std::isnan(rectified[i]) && std::isnan(slopes[i]));
      continue;
    }
    // Two units in the last place, and what is below float32's normal numbers.
    EXPECT_NEAR(static_cast<double>(found[i]), expected, 2 * 1.2e-7 * std::abs(expected) + 1e-45) << inputs[i];
    EXPECT_EQ(std::signbit(found[i]), std::signbit(inputs[i])) << inputs[i];
    EXPECT_NEAR(static_cast<double>(slopes[i]), 1 - expected * expected, 6e-7) << inputs[i];
    EXPECT_EQ(rectified[i], std::max(inputs[i], 0.0f));
    EXPECT_EQ(steps[i], inputs[i] > 0 ? 1.0f : 0.0f);
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, MlpKernelsTest, testing::ValuesIn(runnable_kernel_paths()),
                         [](const auto& info) { return info.param->name; });

}  // namespace
}  // namespace resnet_nodes
