// memory.h: what the workspaces of fused functions have in common: aligned memory, parts of a batch shared among
// threads, and the pool that workspaces wait in.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace resnet_nodes {

/// Parts of a batch at most; each has sums of its own.
constexpr int64_t kMostParts = 32;
/// Floats of all parts' sums that stay in the second-level cache.
constexpr int64_t kMostSums = int64_t{1} << 19;

/// Floats of a cache line.
constexpr int64_t kLine = 16;
/// Cache lines of so many numbers, of which `line` fill one.
constexpr int64_t lines_of(int64_t numbers, int64_t line = kLine) { return (numbers + line - 1) / line; }
/// The distance of two rows of so many: an odd number of lines, so that rows fall into different sets of the cache.
constexpr int64_t odd_lines(int64_t numbers, int64_t line = kLine) { return (lines_of(numbers, line) | 1) * line; }

/// The elements of a tensor of this type.
template <typename Number = float>
const Number* data(const torch::stable::Tensor& tensor) {
  return static_cast<const Number*>(tensor.const_data_ptr());
}
template <typename Number = float>
Number* target(const torch::stable::Tensor& tensor) {
  return static_cast<Number*>(tensor.mutable_data_ptr());
}

/// Floats at the start of a cache line; zeros when they are new.
class FloatBuffer {
 public:
  float* resize(int64_t count);
  /// For so many at least, of any type.
  template <typename Number = float>
  Number* grow(int64_t count) {
    constexpr auto kSize = static_cast<int64_t>(sizeof(Number)), kFloat = static_cast<int64_t>(sizeof(float));
    const int64_t floats = (count * kSize + kFloat - 1) / kFloat;
    if (floats > count_) resize(floats);
    return data<Number>();
  }
  template <typename Number = float>
  Number* data() const {
    return reinterpret_cast<Number*>(data_.get());
  }

 private:
  struct Free {
    void operator()(float* data) const;
  };
  std::unique_ptr<float[], Free> data_;
  int64_t count_ = 0;
};

/// Whose weights lie packed: a function, in one pass of one training step.
struct PackedKey {
  uint64_t pass = 0;
  int64_t function = -1;
  bool operator==(const PackedKey&) const = default;
};

/// The threads that share a batch in parts, one slot of memory for each. `Slot` has an atomic number `next_part`.
template <typename Slot>
class Workers {
 public:
  /// For LibTorch's threads as they are now.
  void resize() { slots_.resize(std::min<size_t>(kMostParts, torch::stable::get_num_threads())); }
  void clear() { slots_.clear(); }
  int64_t count() const { return static_cast<int64_t>(slots_.size()); }
  Slot& slot(int64_t worker) { return slots_[static_cast<size_t>(worker)]; }

  /// body(part, slot). Each worker has a range of parts, the same in every pass, so that it finds its rows in its own
  /// cache; then it helps the others, so that none waits for one that is held up.
  template <typename Body>
  void for_parts(int64_t parts, const Body& body) {
    const auto workers = static_cast<int64_t>(slots_.size());
    for (int64_t worker = 0; worker < workers; ++worker) {
      slots_[static_cast<size_t>(worker)].next_part = worker * parts / workers;
    }
    torch::stable::parallel_for(0, workers, 1, [&](int64_t worker, int64_t) {
      Slot& slot = slots_[static_cast<size_t>(worker)];
      for (int64_t k = 0; k < workers; ++k) {
        const int64_t owner = (worker + k) % workers, end = (owner + 1) * parts / workers;
        std::atomic<int64_t>& next = slots_[static_cast<size_t>(owner)].next_part;
        for (int64_t part = next++; part < end; part = next++) body(part, slot);
      }
    });
  }

 private:
  std::deque<Slot> slots_;
};

/// Workspaces: one for each thread that is inside of a stage at a time.
template <typename Workspace>
class WorkspacePool {
 public:
  class Lease {
   public:
    explicit Lease(WorkspacePool& pool) : pool_(pool) {
      const std::lock_guard lock(pool_.mutex_);
      if (pool_.free_.empty()) {
        workspace_ = std::make_unique<Workspace>();
      } else {
        workspace_ = std::move(pool_.free_.back());
        pool_.free_.pop_back();
      }
    }
    ~Lease() {
      const std::lock_guard lock(pool_.mutex_);
      pool_.free_.push_back(std::move(workspace_));
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Workspace& operator*() const { return *workspace_; }

   private:
    WorkspacePool& pool_;
    std::unique_ptr<Workspace> workspace_;
  };

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> free_;
};

}  // namespace resnet_nodes
