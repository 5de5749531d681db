// graph_truth.h: graphs on CPU tensors: a capture that runs the pass again into its first results. On a GPU the graphs
// are real.
#pragma once

#include <atomic>

#include "device/graph_capture.h"
#include "resnet_nodes/error.h"
#include "truth.h"
#include "walk/adaptive/learned.h"

namespace resnet_nodes::truth {

inline std::atomic<int64_t> recorded = 0, replayed = 0, alive = 0;
inline bool fails = false;

class Rerun final : public GraphCapture {
 public:
  Rerun() { ++alive; }
  ~Rerun() override { --alive; }

  void record(const Pass& pass) override {
    if (fails) throw Error("cuda_graphs: a pass could not be recorded");
    ++recorded;
    pass_ = pass;
  }

  const std::vector<Tensor>& replay() override {
    ++replayed;
    std::vector<Tensor> again = pass_();
    if (results_.empty()) results_ = std::move(again);
    for (size_t i = 0; i < again.size(); ++i) {
      if (again[i].defined()) torch::stable::copy_(results_[i], again[i]);
    }
    return results_;
  }

 private:
  Pass pass_;
  std::vector<Tensor> results_;
};

class Graphed : public testing::Test {
 protected:
  Graphed() {
    recorded = replayed = 0;
    capture_on_cpu([]() -> std::unique_ptr<GraphCapture> { return std::make_unique<Rerun>(); });
    delay_on_cpu(true);
  }
  ~Graphed() override {
    fails = false;
    capture_on_cpu(nullptr);
    delay_on_cpu(delays_forced);
    EXPECT_EQ(alive, 0);
  }

  // Recorded so far, and replayed; of the real ones nobody keeps count.
  static void expect_counts(int64_t records, int64_t replays) {
    if (!on_cpu()) return;
    EXPECT_EQ(recorded, records);
    EXPECT_EQ(replayed, replays);
  }
};

}  // namespace resnet_nodes::truth
