// context.h: what a forward pass leaves for its backward pass, and what that found out.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "resnet_nodes/stage.h"
#include "stage/graphed_pass.h"
#include "stage/live_objects.h"
#include "stage/pass.h"
#include "stage/versions.h"

namespace resnet_nodes {

struct StageContext::Impl {
  LiveObject live;
  // Whether a backward pass has begun: what follows is that one's alone then, down to `mutex`.
  std::atomic<bool> used{false};
  int64_t steps = 0;
  bool row_major = false;                // the layout of results, where states have another
  ForwardPass pass;                      // empty where
  std::shared_ptr<GraphedPass> graphed;  // it is this one's
  Versions versions;

  // Of what follows, which all public methods read. Nothing waits for a device while it is held.
  std::mutex mutex;
  Tensor output;  // the caller's, until the backward pass
  bool done = false;
  Tensor input_gradient;
  std::vector<Tensor> parameter_gradients;
  StageReport report;
  // What completes the report when it is asked for, where figures have stayed on the device.
  PassFindings found;
  bool corrects = false;
  bool has_input_error = false;

  /// With the norms of `found`, arrived; empty where there are none. The mutex is held, as for the next.
  void complete_report(const std::vector<double>& norms);
  void require_done() const;
};

/// From sums of squares: how far the input that came back is off.
double input_error(double difference, double reference);

}  // namespace resnet_nodes
