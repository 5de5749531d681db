#include "walk/adaptive/learned.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <utility>

#include "resnet_nodes/error.h"
#include "tensors/layout.h"
#include "walk/adaptive/estimate.h"
#include "walk/states/known_states.h"

namespace resnet_nodes {
namespace {

std::atomic<bool> delays_on_cpu{false};

// Shapes that are remembered: those of training, and of the last batch of an epoch.
constexpr size_t kShapes = 8;
constexpr size_t kNumbersPerStep = 3;

StepChoice exact(const StepChoice& choice) {
  return {Way::exact, choice.patience, std::min(2 * choice.patience, AdaptivePolicy::kLongestWait)};
}

}  // namespace

bool same_walk(const Choices& a, const Choices& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const StepChoice& one, const StepChoice& other) {
    return one.way == other.way && one.is_due() == other.is_due();
  });
}

std::vector<int64_t> kept_steps(const Choices& choices, int64_t most) {
  const auto steps = static_cast<int64_t>(choices.size());
  std::vector<int64_t> wanted, kept{0};
  // x_1 is one step from x_0.
  for (int64_t n = 2; n < steps; ++n) {
    if (choices[static_cast<size_t>(n)].way == Way::exact) wanted.push_back(n);
  }
  const auto wants = static_cast<int64_t>(wanted.size());
  // Where others are to be replayed, half the room is left for that: what is kept stays all the time until the way
  // back.
  const int64_t count = wants < most ? wants : most / 2 - 1;
  for (int64_t i = 0; i < count; ++i) {
    kept.push_back(wanted[static_cast<size_t>(count < wants ? (i + 1) * wants / (count + 1) : i)]);
  }
  return kept;
}

StepChoice next_choice(const StepChoice& choice, const StepFindings& found, const AdaptivePolicy& policy) {
  StepChoice next = choice;
  next.wait = std::max<int64_t>(0, choice.wait - 1);
  const auto would_do = [&](double looked) { return looked >= 0 && policy.releases(looked); };
  if (choice.way == Way::exact) {
    if (would_do(found.foreseen)) return {Way::foresee, 0, choice.patience};
    if (would_do(found.iterated)) return {Way::iterate, AdaptivePolicy::kLookAgain, choice.patience};
    if (choice.is_due()) next.wait = choice.patience;
    return next;
  }
  if (found.dear) return exact(choice);
  if (found.suspected) return {Way::exact, 0, choice.patience};
  const bool settled = found.source != StateSource::found || policy.settles(found.error);
  if (!settled) {
    if (choice.way == Way::iterate) return exact(choice);
    return {Way::iterate, AdaptivePolicy::kLookAgain, choice.patience};
  }
  if (would_do(found.foreseen)) next.way = Way::foresee;
  if (choice.is_due()) next.wait = AdaptivePolicy::kLookAgain;
  return next;
}

StepNorms arrived(const std::vector<double>& norms, int64_t row) {
  const double* values = norms.data() + row * kMeasuredNorms;
  return {values[kDifference], values[kReference], values[kState]};
}

void complete(std::vector<StepFindings>& steps, const std::vector<double>& norms, double unit) {
  ErrorEstimate estimate(unit);
  double q = 0;
  const auto error_in = [&](int64_t row) {
    const StepNorms off = arrived(norms, row);
    return off.reference > 0 || off.difference > 0 ? relative_error(off.difference, off.reference) : -1;
  };
  for (auto n = static_cast<int64_t>(steps.size()); n-- > 0;) {
    StepFindings& step = steps[static_cast<size_t>(n)];
    if (step.source == StateSource::found) {
      const StepNorms found = arrived(norms, correction_row(n));
      if (step.iterations > 0) q = estimate.contraction(found, step.iterations);
      step.error = AdaptivePolicy::error(estimate.at(found, q), error_in(sample_row(n)));
      estimate.carry(found, q);
    } else {
      step.error = 0;
      estimate.know();
    }
    step.iterated = error_in(iterated_row(n));
    step.foreseen = error_in(foreseen_row(n));
  }
}

Choices LearnedSteps::begin(const Tensor& x) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (found_.norms != nullptr && found_.norms->arrived()) take_in();
  if (!arrives_late(x)) return now_;
  const std::vector<int64_t> shape = sizes_of(x);
  if (std::find(shapes_.begin(), shapes_.end(), shape) == shapes_.end()) {
    if (shapes_.size() == kShapes) shapes_.erase(shapes_.begin());
    shapes_.push_back(shape);
  } else if (informed_) {
    return now_;
  }
  Choices first = now_;
  for (StepChoice& choice : first) choice = {Way::exact, 0, choice.patience};
  return first;
}

Choices LearnedSteps::now() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return now_;
}

void LearnedSteps::end(Choices choices, PassFindings found) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (found_.norms != nullptr && found_.norms->arrived()) take_in();
  measured_ = std::move(choices);
  found_ = std::move(found);
  if (found_.norms == nullptr) take_in();
}

void LearnedSteps::take_in() {
  if (found_.steps.empty()) return;
  if (found_.norms != nullptr) complete(found_.steps, found_.norms->values(), found_.unit);
  const AdaptivePolicy policy = found_.norms != nullptr ? policy_.late() : policy_;
  for (size_t n = 0; n < now_.size(); ++n) now_[n] = next_choice(measured_[n], found_.steps[n], policy);
  found_ = PassFindings();
  measured_ = {};
  informed_ = true;
}

std::vector<double> LearnedSteps::save() {
  const std::lock_guard<std::mutex> lock(mutex_);
  take_in();
  std::vector<double> saved;
  for (const StepChoice& choice : now_) {
    for (const int64_t value : {static_cast<int64_t>(choice.way), choice.wait, choice.patience}) {
      saved.push_back(static_cast<double>(value));
    }
  }
  for (const std::vector<int64_t>& shape : shapes_) {
    saved.push_back(static_cast<double>(shape.size()));
    saved.insert(saved.end(), shape.begin(), shape.end());
  }
  return saved;
}

void LearnedSteps::restore(const std::vector<double>& saved) {
  const auto refuse = [&](bool bad) {
    if (bad) throw Error("learned: the numbers are not those of a stage of " + std::to_string(now_.size()) + " steps");
  };
  const size_t begin = kNumbersPerStep * now_.size();
  refuse(saved.size() < begin);
  Choices choices;
  for (size_t i = 0; i < begin; i += kNumbersPerStep) {
    const double* numbers = saved.data() + i;
    refuse(!(numbers[0] >= 0 && numbers[0] <= static_cast<double>(Way::exact) && numbers[1] >= 0 && numbers[2] >= 1));
    choices.push_back({static_cast<Way>(static_cast<int>(numbers[0])), static_cast<int64_t>(numbers[1]),
                       static_cast<int64_t>(numbers[2])});
  }
  std::vector<std::vector<int64_t>> shapes;
  for (size_t i = begin; i < saved.size();) {
    refuse(!(saved[i] >= 1) || saved[i] > static_cast<double>(saved.size() - i - 1));
    const size_t size = static_cast<size_t>(saved[i]), first = i + 1;
    shapes.emplace_back(saved.begin() + static_cast<std::ptrdiff_t>(first),
                        saved.begin() + static_cast<std::ptrdiff_t>(first + size));
    i = first + size;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  now_ = std::move(choices);
  shapes_ = std::move(shapes);
  // A shape is known with the first pass; what was saved has taken in what that found.
  informed_ = !shapes_.empty();
  found_ = PassFindings();
}

void delay_on_cpu(bool on) { delays_on_cpu = on; }

bool arrives_late(const Tensor& x) { return !x.is_cpu() || delays_on_cpu; }

}  // namespace resnet_nodes
