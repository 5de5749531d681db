// onednn_test.cpp: LibTorch goes without oneDNN where that would compute wrongly.
#include "host/onednn.h"

#include "resnet_nodes/layers.h"
#include "resnet_nodes/runtime.h"
#include "tensors/layout.h"
#include "tensors/operators.h"
#include "truth.h"

namespace resnet_nodes {
namespace {

using namespace truth;

// Of a processor: its vendor's twelve letters, the last leaf, and the first cache.
Cpuid processor(const std::string& vendor, uint32_t last, uint32_t cache) {
  return [=](uint32_t leaf, uint32_t) -> std::array<uint32_t, 4> {
    const auto letters = [&](size_t i) {
      uint32_t four = 0;
      std::memcpy(&four, vendor.data() + i, 4);
      return four;
    };
    if (leaf == 0) return {13, letters(0), letters(8), letters(4)};
    if (leaf == 0x80000000) return {last, 0, 0, 0};
    return {leaf == 0x8000001D ? cache : 0, 0, 0, 0};
  };
}

TEST(OneDnn, IsToldTheCachesOfProcessorsThatHaveThem) {
  EXPECT_TRUE(tells_onednn_its_caches(processor("AuthenticAMD", 0x80000021, 0x4121)));
  EXPECT_TRUE(tells_onednn_its_caches(processor("GenuineIntel", 0x80000008, 0)));
  EXPECT_FALSE(tells_onednn_its_caches(processor("AuthenticAMD", 0x80000021, 0)));
  EXPECT_FALSE(tells_onednn_its_caches(processor("AuthenticAMD", 0x8000001C, 0)));
}

// In float32, of shapes for which oneDNN has different ways, beside float64's, for which it has none.
TEST(OneDnn, IsNotUsedWhereItIsWrong) {
  EXPECT_NO_THROW(require_right_convolutions());
  Generator generator(3);
  const struct {
    int64_t images, in, out, size, kernel;
  } shapes[] = {{8, 5, 3, 5, 3}, {4, 256, 64, 8, 1}, {2, 512, 1024, 4, 1}, {4, 16, 16, 10, 3}, {2, 64, 64, 16, 3}};
  for (const auto& shape : shapes) {
    LayerSpec spec = conv(shape.in, shape.out, shape.kernel);
    const Tensor x = state_layout(normal({shape.images, shape.in, shape.size, shape.size}, generator));
    const Tensor weight = normal({shape.out, shape.in, shape.kernel, shape.kernel}, generator);
    spec.bias = false;
    const auto single = [](const Tensor& wide) { return torch::stable::to(wide, ScalarType::Float); };
    const Tensor expected = convolution(x, weight, Tensor(), spec);
    const Tensor found = convolution(single(x), single(weight), Tensor(), spec);
    EXPECT_LT(relative_error(values(found), values(expected)), 1e-5) << shape.in << " to " << shape.out;
    const GradientTriple slopes = convolution_backward(expected, x, weight, spec, {true, true, false});
    const GradientTriple singles =
        convolution_backward(single(expected), single(x), single(weight), spec, {true, true, false});
    for (size_t i = 0; i < 2; ++i) EXPECT_LT(relative_error(values(singles[i]), values(slopes[i])), 1e-5) << i;
  }
}

}  // namespace
}  // namespace resnet_nodes
