// relu_test.cpp: the product of rectified linear units in bfloat16, over every number that there is.
#include "tensors/relu.h"

#include <cmath>
#include <vector>

#include "truth.h"

namespace resnet_nodes {
namespace {

using namespace truth;

TEST(Relu, PassesGradientsWhereABFloat16IsAboveZero) {
  constexpr int64_t kNumbers = 1 << 16;
  const Tensor output = torch::stable::empty(std::vector<int64_t>{2, kNumbers / 2}, ScalarType::BFloat16);
  auto* bits = static_cast<uint16_t*>(output.mutable_data_ptr());
  for (int64_t i = 0; i < kNumbers; ++i) bits[i] = static_cast<uint16_t>(i);
  Generator generator(3);
  const Tensor grad = torch::stable::to(normal({2, kNumbers / 2}, generator), ScalarType::BFloat16);
  const std::vector<double> found = values(relu_backward(grad, output)), given = values(grad), of = values(output);
  for (size_t i = 0; i < found.size(); ++i) ASSERT_EQ(found[i], of[i] > 0 ? given[i] : 0) << of[i];
  // Columns where the gradient has rows.
  const Tensor columns =
      torch::stable::transpose(torch::stable::contiguous(torch::stable::transpose(output, 0, 1)), 0, 1);
  EXPECT_EQ(values(relu_backward(grad, columns)), found);
}

}  // namespace
}  // namespace resnet_nodes
