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
    const std::vector<double> found = values(sampled(x));
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
  const std::vector<double> expected = values(sampled(x));
  for (const ScalarType type : {ScalarType::Double, ScalarType::Float, ScalarType::Half}) {
    EXPECT_EQ(values(sampled(counted({4, 8, 5, 6}, type))), expected);
  }
  EXPECT_EQ(values(sampled(torch::stable::transpose(
                torch::stable::transpose(torch::stable::contiguous(torch::stable::transpose(x, 1, 3)), 1, 3), 0, 0))),
            expected);
}

// It is a copy, however small the tensor.
TEST(Sample, OutlivesItsTensor) {
  Tensor x = counted({2, 3});
  const Tensor found = sampled(x);
  torch::stable::zero_(x);
  EXPECT_EQ(values(found), (std::vector<double>{0, 1, 2, 3, 4, 5}));
}

}  // namespace
}  // namespace resnet_nodes
