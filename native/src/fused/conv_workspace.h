// conv_workspace.h: memory that fused residual functions work in, reused by every function of every step. It grows to
// what the largest takes. Nothing that leaves the engine lies in it.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "fused/conv_plan.h"
#include "fused/conv_weights.h"
#include "fused/memory.h"

namespace resnet_nodes {

/// Images that one thread works on at a time.
struct ConvGroup {
  int64_t index = 0;
  int64_t images = 0;
  int64_t first_pixel = 0;
  int64_t part = 0;
  bool starts_part = false;
  bool ends_part = false;
};

class ConvWorkspace {
 public:
  /// What one thread writes while it works on a group; on cache lines of its own.
  struct alignas(64) Slot {
    // Blocked inputs and output gradients: images that follow one another, and bordered ones, whose borders stay zeros.
    std::array<FloatBuffer, 2> flat, bordered;
    std::vector<FloatBuffer> values;    // dense: what the convolutions give where no tape keeps it
    FloatBuffer scratch;                // of the convolutions
    FloatBuffer sums;                   // of products, by position
    FloatBuffer taps;                   // what they come to, by tap
    std::array<FloatBuffer, 2> pairs;   // tiles of inputs and gradients in pairs
    uint64_t plan_number = 0;           // the plan whose images its borders surround
    std::atomic<int64_t> next_part{0};  // of those that this thread has the first claim to
  };

  void prepare(const ConvPlan& plan);
  const ConvPlan& plan() const { return plan_; }
  PackedWeights& packed() { return packed_; }

  /// For each group, one after the other, two numbers a channel.
  float* sums() { return sums_.data(); }
  float* coefficients(size_t index) {
    return coefficients_.data() + static_cast<int64_t>(index) * plan_.most_channels();
  }
  float* bias(size_t unit) { return biases_[unit].grow(plan_.unit(unit).out); }
  /// Of the whole batch: what convolutions give in a forward pass without a tape.
  template <typename Number>
  Number* values(size_t unit) {
    return values_[unit].grow<Number>(plan_.pixels() * plan_.unit(unit).out);
  }
  /// Of the whole batch: the gradient of a unit's input.
  float* gradient(size_t unit) {
    return gradients_[unit % 2].grow(plan_.pixels() * plan_.chain().most_inner_channels());
  }

  /// Each part has sums of its own, added up in order: results do not depend on threads.
  float* bias_sums(int64_t part) { return bias_sums_.data() + part * plan_.most_channels(); }

  /// body(group, slot) for each group of the batch, or for those of some parts.
  template <typename Body>
  void for_groups(const Body& body) {
    for_groups(0, plan_.parts(), body);
  }
  template <typename Body>
  void for_groups(int64_t first_part, int64_t end_part, const Body& body) {
    workers_.for_parts(end_part - first_part, [&](int64_t index, Slot& slot) {
      prepare(slot);
      const int64_t part = first_part + index, first = plan_.first_group(part), end = plan_.first_group(part + 1);
      for (int64_t group = first; group < end; ++group) {
        ConvGroup own = group_of(group);
        own.part = part;
        own.starts_part = group == first;
        own.ends_part = group + 1 == end;
        body(own, slot);
      }
    });
  }
  /// Into how many shares of its output channels a group's convolution goes: more than one where threads outnumber
  /// groups. What a share gives does not depend on the others.
  int64_t shares() const {
    const int64_t groups = plan_.groups(), threads = workers_.count();
    return groups < threads ? (threads + groups - 1) / groups : 1;
  }
  /// before(group, home, slot), convolve(group, home, slot, share) and after(group, home, slot) for each group of some
  /// parts: one after the other where a group is whole, else each for all groups. `home` keeps a group's blocked
  /// tensors from one to the next; `slot` is the thread's own.
  template <typename Before, typename Convolve, typename After>
  void for_groups(int64_t first_part, int64_t end_part, const Before& before, const Convolve& convolve,
                  const After& after) {
    const int64_t shares = this->shares();
    if (shares == 1) {
      for_groups(first_part, end_part, [&](const ConvGroup& group, Slot& slot) {
        before(group, slot, slot);
        convolve(group, slot, slot, ConvShare());
        after(group, slot, slot);
      });
      return;
    }
    for (int64_t i = 0; i < workers_.count(); ++i) prepare(workers_.slot(i));
    const auto home = [&](const ConvGroup& group) -> Slot& { return workers_.slot(group.index); };
    for_groups(first_part, end_part, [&](const ConvGroup& group, Slot& slot) { before(group, home(group), slot); });
    const int64_t first = plan_.first_group(first_part), end = plan_.first_group(end_part);
    workers_.for_parts((end - first) * shares, [&](int64_t index, Slot& slot) {
      const ConvGroup group = group_of(first + index / shares);
      convolve(group, home(group), slot, ConvShare{index % shares, shares});
    });
    for_groups(first_part, end_part, [&](const ConvGroup& group, Slot& slot) { after(group, home(group), slot); });
  }
  Workers<Slot>& workers() { return workers_; }

  /// A group's blocked input (0) or output gradient (1) of a unit.
  template <typename Number>
  Number* blocked(Slot& slot, size_t which, size_t unit) const {
    return (plan_.is_winograd(unit) ? slot.bordered : slot.flat)[which].template data<Number>();
  }
  /// Sums of a part, by tap; tiles of a span: of inputs (0) and gradients (1).
  FloatBuffer& part_sums() { return part_sums_; }
  FloatBuffer& span_tiles(size_t which) { return span_tiles_[which]; }

 private:
  void prepare(Slot& slot) const;
  ConvGroup group_of(int64_t index) const {
    return {index, plan_.images_of(index), plan_.first_image(index) * plan_.image_pixels()};
  }

  ConvPlan plan_;
  uint64_t plan_number_ = 0;
  PackedWeights packed_;
  std::vector<FloatBuffer> biases_, values_;
  FloatBuffer sums_, coefficients_, bias_sums_, part_sums_;
  std::array<FloatBuffer, 2> gradients_, span_tiles_;
  Workers<Slot> workers_;
};

}  // namespace resnet_nodes
