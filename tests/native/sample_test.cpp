// sample_test.cpp: the elements by which a state is known again.
#include "tensors/sample.h"

#include <set>

#include "truth.h"

namespace resnet_nodes {
namespace {

using namespace truth;

// 0, 1, 2, ...: a sample says where it was taken.
Tensor counted(const Shape& shape, ScalarType type = ScalarType::Double) {
  Tensor tensor = torch::stable::empty(shape, ScalarType::Double);
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    static_cast<double*>(tensor.mutable_data_ptr())[i] = static_cast<double>(i);
  }
  return torch::stable::to(on_device(tensor), type);
}

TEST(Sample, IsOfAllImagesAndOfAllOfThem) {
  for (const Shape& shape : std::vector<Shape>{{1},
                                               {7},
                                               {5000},
                                               {1, 1},
                                               {3, 500},
                                               {200, 6},
                                               {2, 3, 5, 7},
                                               {128, 16, 32, 32},
                                               {16, 256, 14, 14},
                                               {1, 4, 300, 300}}) {
    const Tensor x = counted(shape);
    const std::vector<double> found = values(sampled(x, 256));
    EXPECT_LE(found.size(), 256u);
    EXPECT_GE(static_cast<int64_t>(found.size()), std::min<int64_t>(64, x.numel())) << shape[0];
    EXPECT_EQ(std::set<double>(found.begin(), found.end()).size(), found.size());
    std::set<int64_t> images;
    for (const double place : found) images.insert(static_cast<int64_t>(place) * shape[0] / x.numel());
    EXPECT_EQ(static_cast<int64_t>(images.size()), shape.size() > 1 ? std::min<int64_t>(64, shape[0])
                                                   : shape[0] < 256 ? shape[0]
                                                                    : 256);
  }
}

TEST(Sample, HasTheSamePlacesInEveryLayoutAndType) {
  const Tensor x = counted({4, 8, 5, 6});
  const std::vector<double> expected = values(sampled(x, 256));
  for (const ScalarType type : {ScalarType::Double, ScalarType::Float, ScalarType::Half}) {
    EXPECT_EQ(values(sampled(counted({4, 8, 5, 6}, type), 256)), expected);
  }
  const Tensor turned = torch::stable::transpose(torch::stable::contiguous(torch::stable::transpose(x, 1, 3)), 1, 3);
  ASSERT_NE(turned.stride(1), x.stride(1));
  EXPECT_EQ(values(sampled(turned, 256)), expected);
}

// It is a copy, however small the tensor.
TEST(Sample, OutlivesItsTensor) {
  Tensor x = counted({2, 3});
  const Tensor found = sampled(x, 256);
  torch::stable::zero_(x);
  EXPECT_EQ(values(found), (std::vector<double>{0, 1, 2, 3, 4, 5}));
}

TEST(Samples, KnowStatesAgain) {
  Generator generator(4);
  for (const int64_t states : {1, 3, 64, 5000}) {
    Samples samples(states);
    EXPECT_FALSE(samples.taken());
    std::vector<Tensor> all;
    for (int64_t n = 0; n < std::min<int64_t>(states, 3); ++n) {
      all.push_back(normal({8, 4, 5, 6}, generator));
      samples.take(n, all.back());
    }
    for (size_t n = 0; n < all.size(); ++n) {
      const std::vector<double> sample = values(samples.of(static_cast<int64_t>(n)));
      EXPECT_EQ(sample, values(samples.like(all[n])));
      EXPECT_LE(static_cast<int64_t>(sample.size()), std::max<int64_t>(16, 16384 / states));
      EXPECT_GE(sample.size(), 8u);
    }
  }
}

}  // namespace
}  // namespace resnet_nodes
