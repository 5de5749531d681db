#include "fused/conv_workspace.h"

#include <algorithm>

namespace resnet_nodes {
namespace {

// Rows of numbers, one a channel: four for each normalization, and what conv_block_norms.cpp keeps beside.
constexpr size_t coefficient_rows(size_t units) { return 4 * units + 5; }

}  // namespace

void ConvWorkspace::prepare(const ConvPlan& plan, const KernelPath& path) {
  kernels_ = plan.lanes() == 16 ? &path.conv16 : &path.conv8;
  const bool same = plan == plan_;
  // Another image has its border elsewhere: its slots start from zeros.
  if (!same) workers_.clear();
  workers_.resize();
  if (same) return;
  plan_ = plan;
  packed_.prepare(plan);
  biases_.resize(plan.units());
  values_.clear();
  values_.resize(plan.units());
  const int64_t channels = plan.most_channels();
  sums_.resize(plan.groups() * 2 * channels);
  coefficients_.resize(static_cast<int64_t>(coefficient_rows(plan.units())) * channels);
  bias_sums_.resize(plan.parts() * channels);
}

void ConvWorkspace::prepare(Slot& slot) const {
  if (!slot.values.empty()) return;
  slot.values.resize(plan_.units());
  int64_t flat = 0, bordered = 0, scratch = 0;
  for (size_t i = 0; i < plan_.units(); ++i) {
    int64_t& size = plan_.is_winograd(i) ? bordered : flat;
    size = std::max(size, plan_.blocked_size(i));
    scratch = std::max(scratch, plan_.scratch_size(i));
  }
  for (FloatBuffer& buffer : slot.flat) buffer.resize(flat);
  for (FloatBuffer& buffer : slot.bordered) buffer.resize(bordered);
  slot.scratch.resize(scratch);
}

}  // namespace resnet_nodes
