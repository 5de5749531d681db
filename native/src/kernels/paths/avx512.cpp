// avx512.cpp: x86-64 with AVX-512 F, BW, DQ, VL.
// processor: x86_64
// flags: -mavx512f -mavx512bw -mavx512dq -mavx512vl
#include <cstdint>

namespace resnet_nodes::KERNEL_PATH {

constexpr int64_t kWidest = 16;     // floats in a register
constexpr int64_t kRegisters = 32;  // of that width

}  // namespace resnet_nodes::KERNEL_PATH

#include KERNEL_LOOPS
