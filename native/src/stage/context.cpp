#include "stage/context.h"

#include <cmath>
#include <utility>

#include "resnet_nodes/error.h"

namespace resnet_nodes {

double input_error(double difference, double reference) {
  return reference > 0 ? std::sqrt(difference / reference) : 0;
}

void StageContext::Impl::complete_report(const std::vector<double>& norms) {
  if (corrects && !norms.empty()) complete(found.steps, norms, found.unit);
  report.steps.clear();
  for (const StepFindings& step : found.steps) report.steps.push_back({step.error, step.evaluations, step.source});
  if (has_input_error && !norms.empty()) {
    const StepNorms input = arrived(norms, input_row(steps));
    report.reconstruction_error = input_error(input.difference, input.reference);
  }
  found = PassFindings();
}

void StageContext::Impl::require_done() const {
  if (!done) throw Error("context: no backward pass has run, so there are no results to read");
}

StageContext::StageContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StageContext::~StageContext() = default;

Tensor StageContext::output() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->output;
}

Tensor StageContext::input_gradient() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->require_done();
  return impl_->input_gradient;
}

std::vector<Tensor> StageContext::parameter_gradients() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->require_done();
  return impl_->parameter_gradients;
}

StageReport StageContext::report() const {
  std::unique_lock<std::mutex> lock(impl_->mutex);
  impl_->require_done();
  if (const std::shared_ptr<const Readback> found = impl_->found.norms) {
    lock.unlock();
    const std::vector<double> norms = found->values();
    lock.lock();
    if (impl_->found.norms != nullptr) impl_->complete_report(norms);  // another thread may have done it
  }
  return impl_->report;
}

bool StageContext::report_is_ready() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->require_done();
  return impl_->found.norms == nullptr || impl_->found.norms->arrived();
}

void StageContext::keep_report_alone() {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->require_done();
  impl_->input_gradient = Tensor();
  impl_->parameter_gradients.clear();
}

}  // namespace resnet_nodes
