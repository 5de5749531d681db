#include "stage/graphed_pass.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "device/device_guard.h"
#include "tensors/fused_steps.h"
#include "tensors/layout.h"

namespace resnet_nodes {
namespace {

// Passes that run by operators before one is recorded: LibTorch and cuDNN choose and set up on first use, some of it
// by a wait.
constexpr int64_t kWarmUp = 2;
// Forward passes at a time: of all batches and of the last one of an epoch, each with the states that it keeps and with
// those that it may keep next.
constexpr size_t kForward = 4;
// Ways back that are remembered, and passes after which one that has not recurred is dropped: adaptive looks every
// ninth pass if extrapolation would do.
constexpr size_t kWaysBack = 16;
// Those that are graphs at a time: steps at rest; the pass in which they look; as many again where they have parted.
constexpr int64_t kGraphsBack = 4;
// Elements from which on a parameter's gradient begins: 16-byte accesses then fit whatever the type.
constexpr int64_t kAlignment = 64;

int64_t address(const void* memory) { return static_cast<int64_t>(reinterpret_cast<intptr_t>(memory)); }

void add_shape(std::vector<int64_t>& key, const Tensor& tensor) {
  key.push_back(static_cast<int64_t>(tensor.scalar_type()));
  key.push_back(tensor.get_device_index());
  key.push_back(tensor.dim());
  for (int64_t i = 0; i < tensor.dim(); ++i) key.push_back(tensor.size(i));
}

// Where the tensors are and in which layout: what a graph of them reads and writes.
std::vector<int64_t> places(const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers) {
  std::vector<int64_t> key;
  for (const std::vector<Tensor>* list : {&parameters, &buffers}) {
    for (const Tensor& tensor : *list) {
      add_shape(key, tensor);
      for (int64_t i = 0; i < tensor.dim(); ++i) key.push_back(tensor.stride(i));
      key.push_back(address(tensor.const_data_ptr()));
    }
  }
  return key;
}

int64_t room_for(const Tensor& parameter) { return (parameter.numel() + kAlignment - 1) / kAlignment * kAlignment; }

Tensor copied(const Tensor& tensor) { return tensor.defined() ? torch::stable::clone(tensor) : Tensor(); }

// The entry that `is` holds for, brought to the front; a new one in the place of the oldest where there is none.
template <typename Entry, typename Is>
Entry& latest(std::list<Entry>& entries, size_t most, Entry fresh, const Is& is) {
  const auto found = std::find_if(entries.begin(), entries.end(), is);
  if (found != entries.end()) {
    entries.splice(entries.begin(), entries, found);
  } else {
    if (entries.size() == most) entries.pop_back();
    entries.push_front(std::move(fresh));
  }
  return entries.front();
}

}  // namespace

GraphedPass::GraphedPass(const PassPlan& plan, const Tensor& x, const std::vector<Tensor>& parameters,
                         const std::vector<Tensor>& buffers, const std::vector<int32_t>& training,
                         const Choices& choices)
    : plan_(plan),
      parameters_(parameters),
      x_(torch::stable::empty_like(x)),
      grad_(torch::stable::empty_like(x)),
      pool_(new_graph_pool(x)),
      there_(new_graph_capture(x, pool_)) {
  keep_gradients({});
  there_->record([this, buffers, training, choices]() -> std::vector<Tensor> {
    pass_ = ForwardPass();
    pass_.choices = choices;
    pass_.functions = bind_layers(plan_, parameters_, buffers, training, plan_.evaluations());
    pass_.stored.kept = true;
    run_forward(plan_, x_, pass_);
    return {pass_.output};
  });
}

Tensor GraphedPass::forward(const Tensor& x) {
  torch::stable::copy_(x_, x);
  return copied(there_->replay()[0]);
}

BackwardPass GraphedPass::backward(const Tensor& grad, const std::vector<int32_t>& wanted,
                                   const std::vector<Tensor>& accumulate_into, const Choices& choices) {
  if (wanted != wanted_) keep_gradients(wanted);
  WayBack& way = way_back(choices);
  if (way.graph == nullptr) {
    pass_.functions->want_gradients(wanted, accumulate_into, true);
    return run_backward(plan_, pass_, grad, choices);
  }
  torch::stable::copy_(grad_, grad);
  const std::vector<Tensor>& results = way.graph->replay();
  BackwardPass result = way.result;
  result.walk.grad = copied(results[0]);
  result.norms = copied(results[1]);
  const auto given = [&](size_t i) { return accumulate_into.empty() ? Tensor() : accumulate_into[i]; };
  bool hands_over = false;
  for (size_t i = 0; i < wanted.size(); ++i) hands_over = hands_over || (wanted[i] != 0 && !given(i).defined());
  result.gradients = views(hands_over ? copied(gradients_) : gradients_);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] == 0 || !given(i).defined()) continue;
    add_scaled(given(i), result.gradients[i], 1.0, given(i));
    result.gradients[i] = Tensor();
  }
  return result;
}

GraphedPass::WayBack& GraphedPass::way_back(const Choices& choices) {
  WayBack fresh;
  fresh.choices = choices;
  WayBack& way = latest(back_, kWaysBack, std::move(fresh),
                        [&](const WayBack& known) { return same_walk(known.choices, choices); });
  way.last_pass = ++passes_;
  if (way.graph == nullptr && ++way.seen > kWarmUp && make_room()) record(way);
  return way;
}

// Whether there may be one graph more, at the cost of one of the past if need be.
bool GraphedPass::make_room() {
  const auto has_graph = [](const WayBack& way) { return way.graph != nullptr; };
  if (std::count_if(back_.begin(), back_.end(), has_graph) < kGraphsBack) return true;
  const auto oldest = std::find_if(back_.rbegin(), back_.rend(), has_graph);
  if (passes_ - oldest->last_pass < static_cast<int64_t>(kWaysBack)) return false;
  oldest->graph.reset();
  return true;
}

void GraphedPass::record(WayBack& way) {
  auto graph = new_graph_capture(x_, pool_);
  graph->record([this, &way]() -> std::vector<Tensor> {
    torch::stable::zero_(gradients_);
    pass_.functions->want_gradients(wanted_, views(gradients_), true);
    way.result = run_backward(plan_, pass_, grad_, way.choices);
    return {std::exchange(way.result.walk.grad, Tensor()), std::exchange(way.result.norms, Tensor())};
  });
  way.graph = std::move(graph);
}

void GraphedPass::keep_gradients(const std::vector<int32_t>& wanted) {
  back_.clear();
  wanted_ = wanted;
  int64_t count = 0;
  for (size_t i = 0; i < wanted.size(); ++i) count += wanted[i] != 0 ? room_for(parameters_[i]) : 0;
  gradients_ = torch::stable::new_empty(x_, std::vector<int64_t>{count});
}

std::vector<Tensor> GraphedPass::views(const Tensor& all) const {
  std::vector<Tensor> result(wanted_.size());
  Tensor memory = all;
  int64_t begin = 0;
  for (size_t i = 0; i < wanted_.size(); ++i) {
    if (wanted_[i] == 0) continue;
    const Tensor& parameter = parameters_[i];
    // In the parameter's layout: autograd copies a gradient that has another one.
    result[i] = laid_out_like(torch::stable::narrow(memory, 0, begin, parameter.numel()), parameter);
    begin += room_for(parameter);
  }
  return result;
}

std::shared_ptr<GraphedPass> GraphedPasses::take(const Tensor& x, const std::vector<Tensor>& parameters,
                                                 const std::vector<Tensor>& buffers,
                                                 const std::vector<int32_t>& training, const Choices& choices) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (std::vector<int64_t> now = places(parameters, buffers); now != tensors_) {
    tensors_ = std::move(now);
    kept_.clear();
  }
  std::vector<int64_t> key{x.is_cuda() ? address(current_cuda_stream(x)) : 0};
  add_shape(key, x);
  key.insert(key.end(), training.begin(), training.end());
  const std::vector<int64_t> steps = plan_.walk.policy ? kept_steps(plan_, choices) : std::vector<int64_t>();
  Kept& kept = latest(kept_, kForward, Kept{key, steps, 0, nullptr},
                      [&](const Kept& known) { return known.key == key && known.steps == steps; });
  if (kept.pass == nullptr) {
    if (++kept.seen <= kWarmUp) return nullptr;
    // Its memory stays allocated: that of a pass with other states goes first.
    for (Kept& other : kept_) {
      if (other.key == key && other.steps != steps) other.seen = 0, other.pass.reset();
    }
    kept.pass = std::make_shared<GraphedPass>(plan_, x, parameters, buffers, training, choices);
  }
  if (kept.pass->busy.exchange(true)) return nullptr;
  // Lets the pass go, with the last owner, instead of deleting it: that is `pass`'s.
  return {kept.pass.get(), [pass = kept.pass](GraphedPass* taken) { taken->busy = false; }};
}

}  // namespace resnet_nodes
