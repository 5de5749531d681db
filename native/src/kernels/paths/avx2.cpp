// avx2.cpp: x86-64 with AVX2 and FMA.
// processor: x86_64
// flags: -mavx2 -mfma
#include <cstdint>

namespace resnet_nodes::KERNEL_PATH {

constexpr int64_t kWidest = 8;      // floats in a register
constexpr int64_t kRegisters = 16;  // of that width

}  // namespace resnet_nodes::KERNEL_PATH

#include KERNEL_LOOPS
