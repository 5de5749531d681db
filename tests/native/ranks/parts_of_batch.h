// parts_of_batch.h: one batch on several ranks, and what they have found put together again.
#pragma once

#include <numeric>

#include "ranks/thread_transport.h"
#include "truth.h"

namespace resnet_nodes::truth {

/// How many images each rank has.
using Split = std::vector<int64_t>;

inline Tensor images_of(const Tensor& all, int64_t first, int64_t count) {
  Tensor whole = all;
  return torch::stable::clone(torch::stable::narrow(whole, 0, first, count));
}

/// The images of one rank, with the parameters of all and running statistics of its own.
inline Problem part_of_batch(const Problem& whole, const Split& split, int32_t rank) {
  const int64_t first = std::accumulate(split.begin(), split.begin() + rank, int64_t{0});
  Problem part = whole;
  part.x = images_of(whole.x, first, split[static_cast<size_t>(rank)]);
  part.grad = images_of(whole.grad, first, split[static_cast<size_t>(rank)]);
  part.buffers = copies(whole.buffers);
  return part;
}

struct OfRanks {
  std::vector<Outcome> outcomes;
  std::vector<std::vector<Tensor>> buffers;
  int64_t sums = 0;

  /// Outputs and input gradients one behind the other, the parameters' gradients added up.
  Outcome joined() const {
    Outcome all;
    const auto join = [&](const Tensor Outcome::*member) {
      const Tensor& one = outcomes.front().*member;
      Shape shape(one.sizes().begin(), one.sizes().end());
      shape[0] = 0;
      for (const Outcome& outcome : outcomes) shape[0] += (outcome.*member).size(0);
      Tensor result = constant(shape, 0);
      int64_t first = 0;
      for (const Outcome& outcome : outcomes) {
        const int64_t count = (outcome.*member).size(0);
        Tensor place = torch::stable::narrow(result, 0, first, count);
        torch::stable::copy_(place, outcome.*member);
        first += count;
      }
      return result;
    };
    all.output = join(&Outcome::output);
    all.input_gradient = join(&Outcome::input_gradient);
    for (size_t i = 0; i < outcomes.front().gradients.size(); ++i) {
      Tensor sum = plain(outcomes.front().gradients[i]);
      for (size_t rank = 1; rank < outcomes.size(); ++rank) sum = moved(sum, outcomes[rank].gradients[i], 1);
      all.gradients.push_back(sum);
    }
    return all;
  }
};

/// body(rank, its stage, its problem) gives the outcome of each rank, on stages that are synchronized.
inline OfRanks on_ranks(const Problem& whole, const StageOptions& options, const Split& split,
                        const std::function<Outcome(int32_t, const Stage&, const Problem&)>& body) {
  OfRanks found;
  found.outcomes.resize(split.size());
  found.buffers.resize(split.size());
  ThreadRanks ranks(static_cast<int32_t>(split.size()));
  ranks.run([&](int32_t rank, Communicator& communicator) {
    const Problem part = part_of_batch(whole, split, rank);
    const Stage stage(part.functions, part.depth, options);
    stage.synchronize(&communicator);
    found.outcomes[static_cast<size_t>(rank)] = body(rank, stage, part);
    found.buffers[static_cast<size_t>(rank)] = part.buffers;
  });
  found.sums = ranks.done();
  return found;
}

/// A training step.
inline OfRanks on_ranks(const Problem& whole, const StageOptions& options, const Split& split) {
  return on_ranks(whole, options, split,
                  [](int32_t, const Stage& stage, const Problem& part) { return pass(stage, part, part.buffers); });
}

}  // namespace resnet_nodes::truth
