// graphed_pass.h: passes of a stage as graphs, with the tensors that stay where they are for it. Knows no device: what
// a graph is stands in graph_capture.h.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "device/graph_capture.h"
#include "stage/pass.h"

namespace resnet_nodes {

/// The forward pass and the backward passes for inputs of one shape. One pass at a time: from `forward` to `backward`,
/// or until its owner lets go of it.
class GraphedPass {
 public:
  /// `x`: as the passes' inputs will be; its values do not matter. `choices`: those of all passes keep the same states.
  GraphedPass(const PassPlan& plan, const Tensor& x, const std::vector<Tensor>& parameters,
              const std::vector<Tensor>& buffers, const std::vector<int32_t>& training, const Choices& choices);

  /// x_N, the caller's own.
  Tensor forward(const Tensor& x);
  /// The way back from the last forward pass, as Stage::backward has it: a graph where one is there for these choices
  /// or they have recurred often enough; by operators otherwise. The caller owns all that it returns.
  BackwardPass backward(const Tensor& grad, const std::vector<int32_t>& wanted,
                        const std::vector<Tensor>& accumulate_into, const Choices& choices);
  /// What the last forward pass has left.
  const ForwardPass& left() const { return pass_; }

  /// Whether a pass is under way.
  std::atomic<bool> busy{false};

 private:
  struct WayBack {
    Choices choices;
    int64_t seen = 0;
    int64_t last_pass = 0;
    std::unique_ptr<GraphCapture> graph;
    BackwardPass result;  // of the graph, without what it computes
  };

  WayBack& way_back(const Choices& choices);
  bool make_room();
  void record(WayBack& way);
  void keep_gradients(const std::vector<int32_t>& wanted);
  std::vector<Tensor> views(const Tensor& all) const;

  PassPlan plan_;
  std::vector<Tensor> parameters_;
  Tensor x_, grad_;
  std::vector<int32_t> wanted_;
  Tensor gradients_;  // of all wanted parameters, one behind the other: one copy hands them over
  GraphPool pool_;
  ForwardPass pass_;
  std::unique_ptr<GraphCapture> there_;
  std::list<WayBack> back_;  // the latest first
  int64_t passes_ = 0;       // back
};

/// The graphed passes of a stage. Calls may come from any thread.
class GraphedPasses {
 public:
  explicit GraphedPasses(const PassPlan& plan) : plan_(plan) {}
  /// The graphs for a pass with x, which is theirs until it lets go of them; null where this pass runs by operators:
  /// its shape is new, or another pass of it is under way.
  std::shared_ptr<GraphedPass> take(const Tensor& x, const std::vector<Tensor>& parameters,
                                    const std::vector<Tensor>& buffers, const std::vector<int32_t>& training,
                                    const Choices& choices);

 private:
  struct Kept {
    std::vector<int64_t> key;    // of x: its stream, shape and modes
    std::vector<int64_t> steps;  // whose states the forward pass keeps
    int64_t seen = 0;
    std::shared_ptr<GraphedPass> pass;
  };

  PassPlan plan_;
  std::mutex mutex_;
  std::vector<int64_t> tensors_;  // where parameters and buffers were last
  std::list<Kept> kept_;          // the latest first
};

}  // namespace resnet_nodes
