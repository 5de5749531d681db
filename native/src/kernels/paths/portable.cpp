// portable.cpp: Any processor: registers of four floats, as SSE2 and NEON have them.
// processor: any
// flags:
#include <cstdint>

namespace resnet_nodes::KERNEL_PATH {

constexpr int64_t kWidest = 4;      // floats in a register
constexpr int64_t kRegisters = 16;  // of that width

}  // namespace resnet_nodes::KERNEL_PATH

#include KERNEL_LOOPS
