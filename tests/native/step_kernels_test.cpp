// step_kernels_test.cpp: every kernel path against plain loops, for every tail, misaligned and in place; equal bits on
// all.
#include "kernels/steps/step_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/paths/kernel_path.h"

namespace resnet_nodes {
namespace {

template <typename T>
const StepKernels<T>& kernels_of(const KernelPath& path) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return path.float32;
  } else {
    return path.float64;
  }
}

// An empty range may have no address, which memcmp does not take.
template <typename T>
bool same_bits(const T* a, const T* b, int64_t count) {
  return count == 0 || std::memcmp(a, b, static_cast<size_t>(count) * sizeof(T)) == 0;
}

template <typename T>
struct Data {
  std::vector<T> memory[4];
  int64_t count;

  explicit Data(int64_t size) : count(size) {
    std::mt19937_64 generator(static_cast<uint64_t>(size));
    std::normal_distribution<double> distribution;
    for (auto& m : memory) {
      m.resize(static_cast<size_t>(size) + 1);
      for (T& value : m) value = static_cast<T>(distribution(generator));
    }
  }
  // One element in: not aligned to any vector.
  T* operator[](size_t i) { return memory[i].data() + 1; }
};

template <typename T>
void compare_steps(const StepKernels<T>& kernels, int64_t count, const std::string& name) {
  SCOPED_TRACE(name + ", count " + std::to_string(count));
  const double a = 0.3, u = std::is_same_v<T, float> ? 6e-8 : 1.2e-16;
  const T scale = static_cast<T>(a);
  Data<T> d(count);
  std::vector<T> out(static_cast<size_t>(count) + 2, T(77));
  const auto expect = [&](int64_t i, double value, double size) {
    EXPECT_NEAR(static_cast<double>(out[static_cast<size_t>(i)]), value, 8 * u * size) << i;
  };
  kernels.add_scaled(out.data(), d[0], d[1], a, count);
  for (int64_t i = 0; i < count; ++i) expect(i, double(d[0][i]) + double(scale) * double(d[1][i]), 8);
  EXPECT_EQ(out[static_cast<size_t>(count)], T(77));
  kernels.add_scaled_sum(out.data(), d[0], d[1], d[2], a, count);
  for (int64_t i = 0; i < count; ++i) {
    expect(i, double(d[0][i]) + double(scale) * (double(d[1][i]) + double(d[2][i])), 8);
  }
  const double c[3] = {3, -3, 1};
  const T* slopes[3] = {d[1], d[2], d[3]};
  for (int64_t terms = 1; terms <= 3; ++terms) {
    kernels.extrapolate(out.data(), d[0], slopes, c, terms, a, count);
    for (int64_t i = 0; i < count; ++i) {
      double slope = 0;
      for (int64_t k = 0; k < terms; ++k) slope += c[k] * double(slopes[k][i]);
      expect(i, double(d[0][i]) - double(scale) * slope, 64);
    }
  }
  StepNorms norms = kernels.correct(out.data(), d[0], d[1], d[2], a, count);
  double difference = 0, reference = 0;
  for (int64_t i = 0; i < count; ++i) {
    expect(i, double(d[0][i]) - double(scale) * double(d[1][i]), 8);
    difference += std::pow(double(d[2][i]) - double(out[static_cast<size_t>(i)]), 2);
    reference += std::pow(double(scale * d[1][i]), 2);
  }
  EXPECT_NEAR(norms.difference, difference, 1e-12 * difference);
  EXPECT_NEAR(norms.reference, reference, 1e-12 * reference);
  norms = kernels.distance(d[0], d[1], count);
  difference = reference = 0;
  for (int64_t i = 0; i < count; ++i) {
    difference += std::pow(double(d[0][i]) - double(d[1][i]), 2);
    reference += std::pow(double(d[1][i]), 2);
  }
  EXPECT_NEAR(norms.difference, difference, 1e-12 * difference);
  EXPECT_NEAR(norms.reference, reference, 1e-12 * reference);
  kernels.relu_backward(out.data(), d[0], d[1], count);
  for (int64_t i = 0; i < count; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], d[1][i] > 0 ? d[0][i] : T(0));
  // In place over each input.
  std::vector<T> expected(static_cast<size_t>(count));
  kernels.correct(expected.data(), d[0], d[1], d[2], a, count);
  for (size_t over = 0; over < 3; ++over) {
    Data<T> again(count);
    kernels.correct(again[over], again[0], again[1], again[2], a, count);
    EXPECT_TRUE(same_bits(again[over], expected.data(), count)) << "in place over " << over;
  }
}

std::vector<int64_t> counts() {
  std::vector<int64_t> list;
  for (int64_t i = 0; i <= 25; ++i) list.push_back(i);
  list.push_back(1000);
  list.push_back(16384);
  return list;
}

TEST(StepKernels, MatchPlainLoops) {
  for (const KernelPath* path : runnable_kernel_paths()) {
    for (const int64_t count : counts()) {
      compare_steps(path->float32, count, std::string(path->name) + " float32");
      compare_steps(path->float64, count, std::string(path->name) + " float64");
    }
  }
}

template <typename T>
void expect_equal_bits(const KernelPath& a, const KernelPath& b, int64_t count) {
  Data<T> d(count);
  std::vector<T> first(static_cast<size_t>(count)), second(first);
  const double c[3] = {3, -3, 1};
  const T* slopes[3] = {d[1], d[2], d[3]};
  const auto same = [&](const char* step) {
    EXPECT_TRUE(same_bits(first.data(), second.data(), count)) << step << ", " << b.name << ", count " << count;
  };
  const StepKernels<T>&x = kernels_of<T>(a), &y = kernels_of<T>(b);
  x.add_scaled(first.data(), d[0], d[1], 0.3, count), y.add_scaled(second.data(), d[0], d[1], 0.3, count);
  same("add_scaled");
  x.add_scaled_sum(first.data(), d[0], d[1], d[2], 0.3, count);
  y.add_scaled_sum(second.data(), d[0], d[1], d[2], 0.3, count);
  same("add_scaled_sum");
  x.extrapolate(first.data(), d[0], slopes, c, 3, 0.3, count),
      y.extrapolate(second.data(), d[0], slopes, c, 3, 0.3, count);
  same("extrapolate");
  x.relu_backward(first.data(), d[0], d[1], count), y.relu_backward(second.data(), d[0], d[1], count);
  same("relu_backward");
  const StepNorms m = x.correct(first.data(), d[0], d[1], d[2], 0.3, count);
  const StepNorms n = y.correct(second.data(), d[0], d[1], d[2], 0.3, count);
  same("correct");
  EXPECT_EQ(m.difference, n.difference);
  EXPECT_EQ(m.reference, n.reference);
  const StepNorms p = x.distance(d[0], d[1], count), q = y.distance(d[0], d[1], count);
  EXPECT_EQ(p.difference, q.difference);
  EXPECT_EQ(p.reference, q.reference);
}

TEST(StepKernels, PathsGiveEqualBits) {
  for (const KernelPath* path : runnable_kernel_paths()) {
    for (const int64_t count : counts()) {
      expect_equal_bits<float>(*runnable_kernel_paths().back(), *path, count);
      expect_equal_bits<double>(*runnable_kernel_paths().back(), *path, count);
    }
  }
}

}  // namespace
}  // namespace resnet_nodes
