// thread_transport.h: ranks that are threads of this process: a transport that looks whether they start the same
// operations in the same order.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "resnet_nodes/communicator.h"
#include "resnet_nodes/transport.h"

namespace resnet_nodes::truth {

class ThreadRanks {
 public:
  explicit ThreadRanks(int32_t size) {
    for (int32_t rank = 0; rank < size; ++rank) members_.push_back({this, rank, 0});
  }
  ThreadRanks(const ThreadRanks&) = delete;
  ThreadRanks& operator=(const ThreadRanks&) = delete;

  /// body(rank, communicator) on a thread for each rank. What a thread throws fails the test and ends the others'
  /// waits.
  void run(const std::function<void(int32_t, Communicator&)>& body) {
    std::vector<std::thread> threads;
    for (const Member& member : members_) {
      threads.emplace_back([this, &body, rank = member.rank] {
        try {
          Communicator communicator(transport(rank));
          body(rank, communicator);
        } catch (const std::exception& error) {
          ADD_FAILURE() << "rank " << rank << ": " << error.what();
          fail("rank " + std::to_string(rank) + " has left");
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  ResNetNodesTransport transport(int32_t rank) {
    const auto size = static_cast<int32_t>(members_.size());
    ResNetNodesTransport table = {};
    table.rank = table.local_rank = rank;
    table.size = table.local_size = size;
    table.state = &members_[static_cast<size_t>(rank)];
    table.broadcast = [](void* state, void* data, int64_t bytes, int32_t root, void*) {
      return of(state).start({Kind::broadcast, bytes, root}, state, data);
    };
    table.sum = [](void* state, void* data, int64_t count, int32_t element, void*) {
      return of(state).start({Kind::sum, count, element}, state, data);
    };
    table.barrier = [](void* state) { return of(state).start({Kind::barrier, 0, 0}, state, nullptr); };
    table.wait = [](void* state, int64_t operation, int64_t milliseconds) {
      return of(state).wait(operation, milliseconds);
    };
    table.failure = [](void* state) { return of(state).failure_.c_str(); };
    table.abort = [](void*, int32_t code) { std::exit(code); };
    table.close = [](void*) {};
    return table;
  }

  /// Operations that this rank has started.
  int64_t started(int32_t rank) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return members_[static_cast<size_t>(rank)].started;
  }

  /// Operations that all ranks have been through.
  int64_t done() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return done_;
  }

  /// From now on operations fail.
  void fail(const std::string& why) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (failure_.empty()) failure_ = why;
    changed_.notify_all();
  }

 private:
  enum class Kind { broadcast, sum, barrier };
  struct Call {
    Kind kind = Kind::barrier;
    int64_t count = 0;
    int32_t argument = 0;  // a sum's element, a broadcast's root
    bool operator==(const Call&) const = default;
  };
  struct Member {
    ThreadRanks* ranks;
    int32_t rank;
    int64_t started;
  };
  struct Operation {
    Call call;
    std::vector<void*> data;  // of each rank, null before it has started
    size_t started = 0;
  };

  static ThreadRanks& of(void* state) { return *static_cast<Member*>(state)->ranks; }

  int64_t start(const Call& call, void* state, void* data) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Member& member = *static_cast<Member*>(state);
    const int64_t number = member.started++;
    if (static_cast<size_t>(number) == operations_.size()) {
      operations_.push_back({call, std::vector<void*>(members_.size()), 0});
    }
    Operation& operation = operations_[static_cast<size_t>(number)];
    if (operation.call != call) {
      failure_ = "rank " + std::to_string(member.rank) + " starts another operation than the others";
    }
    operation.data[static_cast<size_t>(member.rank)] = data;
    if (++operation.started == members_.size() && failure_.empty()) {
      finish(operation);
      ++done_;
    }
    changed_.notify_all();
    return number;
  }

  void finish(const Operation& operation) const {
    const Call& call = operation.call;
    if (call.kind == Kind::broadcast) {
      const void* from = operation.data[static_cast<size_t>(call.argument)];
      for (void* to : operation.data) std::memmove(to, from, static_cast<size_t>(call.count));
    } else if (call.kind == Kind::sum) {
      switch (call.argument) {
        case kResNetNodesFloat32:
          return add_up<float>(operation);
        case kResNetNodesFloat64:
          return add_up<double>(operation);
        default:
          return add_up<int64_t>(operation);
      }
    }
  }

  template <typename T>
  static void add_up(const Operation& operation) {
    for (int64_t i = 0; i < operation.call.count; ++i) {
      T total = 0;
      for (const void* data : operation.data) total += static_cast<const T*>(data)[i];
      for (void* data : operation.data) static_cast<T*>(data)[i] = total;
    }
  }

  int32_t wait(int64_t number, int64_t milliseconds) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto is_over = [&] { return number < done_ || !failure_.empty(); };
    if (!changed_.wait_for(lock, std::chrono::milliseconds(milliseconds), is_over)) return 0;
    return number < done_ ? 1 : -1;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Member> members_;
  std::vector<Operation> operations_;
  int64_t done_ = 0;
  std::string failure_;
};

}  // namespace resnet_nodes::truth
