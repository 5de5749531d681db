#include "tensors/relu.h"

#include "tensors/dispatcher.h"
#include "tensors/elementwise.h"
#include "tensors/operators.h"

namespace resnet_nodes {

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
        const Tensor zero = number_like(grad, 0);
        const Tensor positive = call_operator<1>("aten::gt", "Tensor", output, zero)[0];
        return call_operator<1>("aten::where", "self", positive, grad, zero)[0];
      });
}

}  // namespace resnet_nodes
