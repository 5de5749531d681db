#include "fused/conv_workspace.h"

#include <algorithm>

namespace resnet_nodes {
namespace {

// Rows of numbers, one a channel: four for each normalization, and what conv_block_norms.cpp keeps beside.
constexpr size_t coefficient_rows(size_t units) { return 4 * units + 5; }

}  // namespace

void ConvWorkspace::prepare(const ConvPlan& plan) {
  workers_.resize();
  if (plan == plan_) return;
  plan_ = plan;
  ++plan_number_;
  packed_.prepare(plan);
  if (biases_.size() < plan.units()) {
    biases_.resize(plan.units());
    values_.resize(plan.units());
  }
  const int64_t channels = plan.most_channels();
  sums_.grow(plan.groups() * 2 * channels);
  coefficients_.grow(static_cast<int64_t>(coefficient_rows(plan.units())) * channels);
  bias_sums_.grow(plan.parts() * channels);
}

void ConvWorkspace::prepare(Slot& slot) const {
  if (slot.plan_number == plan_number_) return;
  slot.plan_number = plan_number_;
  if (slot.values.size() < plan_.units()) slot.values.resize(plan_.units());
  int64_t flat = 0, bordered = 0, scratch = 0;
  for (size_t i = 0; i < plan_.units(); ++i) {
    int64_t& size = plan_.is_winograd(i) ? bordered : flat;
    size = std::max(size, plan_.blocked_size(i));
    scratch = std::max(scratch, plan_.scratch_size(i));
  }
  for (FloatBuffer& buffer : slot.flat) buffer.grow(plan_.floats_of(flat));
  // Another image has its border elsewhere.
  for (FloatBuffer& buffer : slot.bordered) {
    std::fill_n(buffer.grow(plan_.floats_of(bordered)), plan_.floats_of(bordered), 0.0f);
  }
  slot.scratch.grow(scratch);
}

}  // namespace resnet_nodes
