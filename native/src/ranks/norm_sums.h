// norm_sums.h: what batch normalizations add up over the ranks of a synchronized stage.
#pragma once

#include <cstdint>
#include <mutex>

#include "tensors/channels.h"

namespace resnet_nodes {

class Communicator;

/// Sums over the ranks of a communicator. Every rank asks for the same ones in the same order, so that one pass of a
/// process goes on at a time. A communicator has one, which outlives it where passes hold it.
class NormSums {
 public:
  explicit NormSums(Communicator& communicator) : communicator_(&communicator) {}
  NormSums(const NormSums&) = delete;
  NormSums& operator=(const NormSums&) = delete;

  /// Before the communicator ends; waits for a pass that is under way.
  void close();

  /// Held while a pass asks for sums. Throws Error where another one is under way, and where the communicator is gone.
  std::unique_lock<std::mutex> begin_pass();

  // Within a pass.
  /// The moments of all ranks' values from those of this rank's. Throws Error where they are a single value a channel.
  ChannelMoments of_all(const ChannelMoments& own);
  /// Each number becomes its sum over the ranks.
  void add_up(double* numbers, int64_t count);

 private:
  std::mutex pass_;
  Communicator* communicator_;
};

}  // namespace resnet_nodes
