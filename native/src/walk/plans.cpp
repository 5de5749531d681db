// plans.cpp: the table of reconstructions (docs/reconstructions.md). A new one is a row here and a value of its kind.
#include "walk/plans.h"

#include <cmath>
#include <string>
#include <vector>

#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

struct Row {
  ReconstructionPlan plan;
  WalkPlan (*make)(const StageOptions& options, int64_t count);
};

WalkPlan correcting(std::function<std::unique_ptr<Predictor>()> new_predictor) {
  return {Stores::nothing, [make = std::move(new_predictor)](const WalkInputs&) { return make(); }, true, std::nullopt};
}

const std::vector<Row>& rows() {
  using Kind = ReconstructionKind;
  constexpr auto kNone = PlanArgument::none, kCount = PlanArgument::count, kTolerance = PlanArgument::tolerance;
  // Kind, name, help; argument and its name; count: default, least, most; order and evaluations, and whether they grow
  // with the count; memory-free.
  static const std::vector<Row> table{
      {{Kind::backprop, "backprop", "store the tape of every step: exact; memory grows with depth", kNone, "", 0, 0, 0,
        0, false, 3, false, false},
       [](const StageOptions&, int64_t) {
         return WalkPlan{Stores::tapes, replaying_predictor, false, std::nullopt};
       }},
      {{Kind::checkpoint, "checkpoint", "store every k-th state and replay the steps between: exact", kCount, "k", 0, 1,
        0, 0, false, 4, false, false},
       [](const StageOptions&, int64_t) {
         return WalkPlan{Stores::states, replaying_predictor, false, std::nullopt};
       }},
      // The paper's (arXiv 2205.14612, section 4).
      {{Kind::inverse, "inverse", "the paper's: the solver's reverse step", kNone, "", 0, 0, 0, 1, false, 5, false,
        true},
       [](const StageOptions&, int64_t) {
         return WalkPlan{Stores::nothing, [](const WalkInputs&) { return undo_predictor(); }, false, std::nullopt};
       }},
      {{Kind::corrected, "corrected", "k fixed-point iterations, then a correction that costs nothing", kCount, "k", 1,
        1, 0, 2, true, 5, true, true},
       [](const StageOptions&, int64_t count) { return correcting([count] { return fixed_point_predictor(count); }); }},
      {{Kind::extrapolated, "extrapolated", "foresee the state from the last m increments; for weights smooth in depth",
        kCount, "m", 2, 2, 3, 3, true, 4, false, true},
       [](const StageOptions&, int64_t count) {
         return correcting([count] { return extrapolation_predictor(count); });
       }},
      {{Kind::adaptive, "adaptive", "find each state to a tolerance, and keep those that can't be found", kTolerance,
        "tolerance", AdaptivePolicy::kIterations, 1, 0, 2, false, 5, false, true},
       [](const StageOptions& options, int64_t count) {
         return WalkPlan{Stores::choice, adaptive_predictor, true, AdaptivePolicy{options.tolerance, count}};
       }},
  };
  return table;
}

const Row& find_row(ReconstructionKind kind) {
  for (const Row& row : rows()) {
    if (row.plan.kind == kind) return row;
  }
  throw Error("reconstruction " + std::to_string(static_cast<int>(kind)) + " is unknown");
}

std::string range_text(const ReconstructionPlan& plan) {
  return plan.most_count > 0 ? std::to_string(plan.least_count) + " to " + std::to_string(plan.most_count)
                             : "at least " + std::to_string(plan.least_count);
}

}  // namespace

std::vector<ReconstructionPlan> reconstruction_plans() {
  std::vector<ReconstructionPlan> plans;
  for (const Row& row : rows()) plans.push_back(row.plan);
  return plans;
}

const ReconstructionPlan& find_plan(ReconstructionKind kind) { return find_row(kind).plan; }

void check_options(const StageOptions& options) {
  const ReconstructionPlan& plan = find_plan(options.reconstruction);
  if (options.count < 0) throw Error("count is " + std::to_string(options.count) + ", expected 0 (default) or more");
  if (options.count > 0 && plan.least_count == 0) {
    throw Error("count is " + std::to_string(options.count) + ", but " + plan.name + " takes none");
  }
  if (options.count > 0 &&
      (options.count < plan.least_count || (plan.most_count > 0 && options.count > plan.most_count))) {
    throw Error("count is " + std::to_string(options.count) + ", expected " + range_text(plan) + " for " + plan.name);
  }
  if (!std::isfinite(options.step_size) || options.step_size < 0) {
    throw Error("step_size is " + std::to_string(options.step_size) + ", expected a positive number, or 0 for 1/N");
  }
  if (options.stored_steps < 0) {
    throw Error("stored_steps is " + std::to_string(options.stored_steps) + ", expected 0 (default) or more");
  }
  if (options.most_states < 0 || options.most_states == 1) {
    throw Error("most_states is " + std::to_string(options.most_states) + ", expected 0 (default), or 2 or more");
  }
  if (options.tape_bytes < 0) {
    throw Error("tape_bytes is " + std::to_string(options.tape_bytes) + ", expected 0 (default) or more");
  }
  if (!(options.tolerance > 0) || !std::isfinite(options.tolerance)) {
    throw Error("tolerance is " + std::to_string(options.tolerance) + ", expected a positive number");
  }
}

WalkPlan make_plan(const StageOptions& options, int64_t steps) {
  const Row& row = find_row(options.reconstruction);
  WalkPlan plan = row.make(options, options.count > 0 ? options.count : row.plan.default_count);
  plan.most_states = most_states(steps, plan.policy ? options.most_states : 0);
  return plan;
}

}  // namespace resnet_nodes
