// elementwise.h: one pass over tensors of one shape: by the kernels of the CPU or of CUDA, by LibTorch's operators
// elsewhere and for types that the kernels of a device lack.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "device/cuda_launch.h"
#include "kernels/step_norms.h"
#include "tensors/active_kernels.h"

namespace resnet_nodes {

using torch::stable::Tensor;

/// An input of a pass, with the name that errors give it.
struct Argument {
  const char* name;
  const Tensor& tensor;
};

/// Throws Error where an input or `out` (unless undefined) has not the first one's shape, dtype and device: operators
/// would broadcast or convert it. `pass` is the name of the pass.
void check_alike(const char* pass, std::initializer_list<Argument> inputs, const Tensor& out);

/// Whether the CPU's kernels are for x.
bool has_cpu_kernels(const Tensor& x);

/// `result` itself, or written to `out` where that is defined.
Tensor written_to(const Tensor& out, const Tensor& result);

/// The inputs of a pass brought to one dense layout: that of `out` where it is given, else of the first input.
class DenseArguments {
 public:
  static constexpr size_t kMost = 4;

  DenseArguments(std::initializer_list<Argument> inputs, const Tensor& given);

  const Tensor& out() const { return out_; }
  const Tensor& input(size_t i) const { return inputs_[i]; }
  /// Where the inputs' elements begin, from element `first` on.
  template <typename T>
  std::array<const T*, kMost> from(int64_t first) const {
    std::array<const T*, kMost> all{};
    for (size_t i = 0; i < count_; ++i) all[i] = static_cast<const T*>(inputs_[i].const_data_ptr()) + first;
    return all;
  }
  std::array<const void*, kMost> memory() const;
  template <typename T>
  T* to(int64_t first) const {
    return static_cast<T*>(out_.mutable_data_ptr()) + first;
  }
  /// What the pass returns: `given`, written where it has gaps, or the new tensor.
  Tensor finish(const Tensor& given) const;

 private:
  std::array<Tensor, kMost> inputs_;
  size_t count_ = 0;
  Tensor out_;
  bool copy_back_ = false;
};

/// Elements that one thread takes at a time, and over which a sum is added up: fixed, so that results do not depend on
/// the number of threads.
constexpr int64_t kBlock = 16384;

/// body(kernels of like's element type, its zero, first entry, how many) for each block of so many of `total` entries.
template <typename Body>
void for_blocks_of(const Tensor& like, int64_t total, int64_t entries, const Body& body) {
  const KernelPath& path = active_kernels();
  const bool single = like.scalar_type() == torch::headeronly::ScalarType::Float;
  torch::stable::parallel_for(0, (total + entries - 1) / entries, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * entries;
      const int64_t count = total - begin < entries ? total - begin : entries;
      if (single) {
        body(path.float32, float(), begin, count);
      } else {
        body(path.float64, double(), begin, count);
      }
    }
  });
}

/// The same for all elements.
template <typename Body>
void for_blocks(const Tensor& like, const Body& body) {
  for_blocks_of(like, like.numel(), kBlock, body);
}

/// Norms of parts, added up in their order.
StepNorms sum_of(const std::vector<StepNorms>& parts);
/// The norms of all blocks: body as above, returning those of its block.
template <typename Body>
StepNorms sum_of_blocks(const Tensor& like, const Body& body) {
  std::vector<StepNorms> parts(static_cast<size_t>((like.numel() + kBlock - 1) / kBlock));
  for_blocks(like, [&](const auto& loops, auto zero, int64_t begin, int64_t count) {
    parts[static_cast<size_t>(begin / kBlock)] = body(loops, zero, begin, count);
  });
  return sum_of(parts);
}

/// What CUDA's kernels add norms up in.
Tensor scratch_for(const CudaKernels& kernels, const Tensor& x);

/// One pass that writes `out` (a new tensor where undefined), by whichever of three means x's device and dtype have:
/// cpu(kernels, out, inputs, count), cuda(kernels, type, out, inputs, count, stream), operators().
template <typename Cpu, typename Cuda, typename Operators>
Tensor elementwise(const char* pass, std::initializer_list<Argument> inputs, const Tensor& out, const Cpu& cpu,
                   const Cuda& cuda, const Operators& operators) {
  check_alike(pass, inputs, out);
  const Tensor& x = inputs.begin()->tensor;
  const CudaKernels* kernels = cuda_kernels_for(x);
  if (kernels == nullptr && !has_cpu_kernels(x)) return written_to(out, operators());
  const DenseArguments dense(inputs, out);
  if (kernels != nullptr) {
    launch(pass, x, [&](ElementType type, void* stream) {
      return cuda(*kernels, type, dense.out().mutable_data_ptr(), dense.memory(), dense.out().numel(), stream);
    });
  } else {
    for_blocks(dense.out(), [&](const auto& loops, auto zero, int64_t begin, int64_t count) {
      using T = decltype(zero);
      cpu(loops, dense.to<T>(begin), dense.from<T>(begin), count);
    });
  }
  return dense.finish(out);
}

}  // namespace resnet_nodes
