// avx512.cpp: x86-64 with AVX-512 F, BW, DQ, VL; for bfloat16 with AVX512-BF16 too.
// processor: x86_64
// flags: -mavx512f -mavx512bw -mavx512dq -mavx512vl
// bfloat16: -mavx512bf16
#include <cstdint>

namespace resnet_nodes::KERNEL_PATH {

constexpr int64_t kWidest = 16;     // floats in a register
constexpr int64_t kRegisters = 32;  // of that width

}  // namespace resnet_nodes::KERNEL_PATH

#include KERNEL_LOOPS
