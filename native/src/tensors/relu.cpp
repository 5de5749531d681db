#include "tensors/relu.h"

#include "tensors/dispatcher.h"
#include "tensors/elementwise.h"
#include "tensors/operators.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

// In bfloat16 on the CPU, where LibTorch's operators take one element at a time.
Tensor narrow_relu_backward(const Tensor& grad, const Tensor& output) {
  const DenseArguments dense({{"grad", grad}, {"output", output}}, Tensor());
  const int64_t total = grad.numel();
  torch::stable::parallel_for(0, total, kBlock, [&](int64_t begin, int64_t end) {
    const auto from = dense.from<int16_t>(begin);
    auto* to = dense.to<int16_t>(begin);
    // As an integer such a number is above 0 where it is one itself; not a number lies above infinity.
    constexpr int16_t kInfinity = 0x7f80;
    for (int64_t i = 0; i < end - begin; ++i) {
      to[i] = from[1][i] > 0 && from[1][i] <= kInfinity ? from[0][i] : int16_t{0};
    }
  });
  return dense.finish(Tensor());
}

}  // namespace

Tensor relu_backward(const Tensor& grad, const Tensor& output) {
  return elementwise(
      "relu_backward", {{"grad", grad}, {"output", output}}, Tensor(),
      [](const auto& loops, auto* to, const auto& from, int64_t count) {
        loops.relu_backward(to, from[0], from[1], count);
      },
      [](const CudaKernels& cuda, ElementType type, void* to, const auto& from, int64_t count, void* stream) {
        return cuda.relu_backward(type, to, from[0], from[1], count, stream);
      },
      [&] {
        if (grad.is_cpu() && grad.scalar_type() == ScalarType::BFloat16) return narrow_relu_backward(grad, output);
        const Tensor zero = number_like(grad, 0);
        const Tensor positive = call_operator<1>("aten::gt", "Tensor", output, zero)[0];
        return call_operator<1>("aten::where", "self", positive, grad, zero)[0];
      });
}

}  // namespace resnet_nodes
