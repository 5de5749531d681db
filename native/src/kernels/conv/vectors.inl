// vectors.inl: blocks of channels in registers. Part of conv.inl.
#include "kernels/registers.inl"

// How a block of kLanes channels lies in registers.
template <int64_t kLanes>
struct Block {
  static constexpr int64_t kWidth = kLanes < kWidest ? kLanes : kWidest;
  static constexpr int64_t kVectors = kLanes / kWidth;
  typedef typename Register<kWidth>::Unaligned Vector;

  // What registers hold beside the weights and, without operands that broadcast from memory, one input: tiles of a
  // convolution for one and for two blocks of output channels, and output channels of a weight gradient (0: never two).
  static constexpr bool kMany = kRegisters == 32;
  static constexpr int64_t kTiles = (kMany ? 26 : 12) / kVectors;
  static constexpr int64_t kTilesOfPairs = kVectors > 1 ? 0 : kMany ? 13 : 6;
  static constexpr int64_t kOutputs = (kMany ? kLanes : 8) / kVectors;
  static constexpr int64_t kOutputsOfPairs = kVectors > 1 ? 0 : kMany ? 8 : 4;
};

// In memory it need not be aligned; on the stack it is.
template <int64_t kLanes>
using Vector = typename Block<kLanes>::Vector;
template <int64_t kLanes>
using Aligned = typename Register<Block<kLanes>::kWidth>::Floats;

template <int64_t kLanes>
Vector<kLanes>& at(float* p) {
  return *reinterpret_cast<Vector<kLanes>*>(p);
}
template <int64_t kLanes>
const Vector<kLanes>& at(const float* p) {
  return *reinterpret_cast<const Vector<kLanes>*>(p);
}
