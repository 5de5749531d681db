// thread_transport.h: ranks that are threads of one process. An operation is complete when its start returns.
#pragma once

#include <algorithm>
#include <barrier>
#include <cstdint>
#include <string>
#include <vector>

#include "resnet_nodes/transport.h"

namespace resnet_nodes::ranks_test {

class ThreadRanks {
 public:
  explicit ThreadRanks(int32_t size) : meeting_(size), data_(static_cast<size_t>(size)) {
    for (int32_t rank = 0; rank < size; ++rank) members_.push_back({this, rank});
  }

  ResNetNodesTransport transport(int32_t rank) {
    const auto size = static_cast<int32_t>(members_.size());
    ResNetNodesTransport transport = {};
    transport.rank = transport.local_rank = rank;
    transport.size = transport.local_size = size;
    transport.state = &members_[static_cast<size_t>(rank)];
    transport.broadcast = [](void* state, void* data, int64_t bytes, int32_t root, void*) {
      const auto copy = [&](ThreadRanks& ranks) {
        const auto* const from = static_cast<const char*>(ranks.data_[static_cast<size_t>(root)]);
        for (void* to : ranks.data_) std::copy(from, from + bytes, static_cast<char*>(to));
      };
      return of(state).together(data, copy);
    };
    transport.sum = [](void* state, void* data, int64_t count, int32_t element, void*) {
      const auto add = [&](ThreadRanks& ranks) {
        for (int64_t i = 0; i < count; ++i) {
          int64_t sum = 0;
          for (void* terms : ranks.data_) sum += static_cast<int64_t*>(terms)[i];
          for (void* sums : ranks.data_) static_cast<int64_t*>(sums)[i] = sum;
        }
      };
      if (element != kResNetNodesInt64) return kNone;
      return of(state).together(data, add);
    };
    transport.barrier = [](void* state) { return of(state).together(nullptr, [](ThreadRanks&) {}); };
    transport.wait = [](void* state, int64_t operation, int64_t) {
      return operation == kNone ? -2 : of(state).ranks->failure.empty() ? 1 : -1;
    };
    transport.failure = [](void* state) { return of(state).ranks->failure.c_str(); };
    transport.close = [](void*) {};
    return transport;
  }

  /// Where it is not empty, operations fail.
  std::string failure;

 private:
  static constexpr int64_t kNone = 0;

  struct Member {
    ThreadRanks* ranks;
    int32_t rank;
    int64_t last = kNone;

    template <class Work>
    int64_t together(void* data, const Work& work) {
      ranks->data_[static_cast<size_t>(rank)] = data;
      ranks->meeting_.arrive_and_wait();
      if (rank == 0) work(*ranks);
      ranks->meeting_.arrive_and_wait();
      return ++last;
    }
  };

  static Member& of(void* state) { return *static_cast<Member*>(state); }

  std::barrier<> meeting_;
  std::vector<void*> data_;
  std::vector<Member> members_;
};

}  // namespace resnet_nodes::ranks_test
