// pause.h: between two looks at an operation of the network's.
#pragma once

#include <algorithm>
#include <chrono>
#include <thread>

namespace resnet_nodes {

/// At first nothing, then a sleep that grows: the core is the next batch's.
class Pause {
 public:
  void operator()() {
    if (++looks_ < kAtOnce) return;
    std::this_thread::sleep_for(next_);
    next_ = std::min<std::chrono::microseconds>(2 * next_, kLongest);
  }

 private:
  static constexpr int kAtOnce = 64;
  static constexpr std::chrono::microseconds kLongest{200};
  int looks_ = 0;
  std::chrono::microseconds next_{10};
};

}  // namespace resnet_nodes
