#include "ranks/norm_sums.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <string>
#include <vector>

#include "resnet_nodes/communicator.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

// Between two looks at whether the others are taken for lost.
constexpr int64_t kWaitMilliseconds = 1000;

}  // namespace

void NormSums::close() {
  const std::lock_guard<std::mutex> lock(pass_);
  communicator_ = nullptr;
}

std::unique_lock<std::mutex> NormSums::begin_pass() {
  std::unique_lock<std::mutex> lock(pass_, std::try_to_lock);
  if (!lock.owns_lock()) {
    throw Error(
        "synchronized batch normalization: another pass is under way on another thread; run the passes one after the "
        "other, in the same order on all ranks");
  }
  if (communicator_ == nullptr) {
    throw Error(
        "synchronized batch normalization: the communicator is closed; close it after the last pass, or synchronize "
        "the stage with another one");
  }
  return lock;
}

void NormSums::add_up(double* numbers, int64_t count) {
  const Tensor sums = torch::stable::empty({count}, torch::headeronly::ScalarType::Double);
  auto* own = static_cast<double*>(sums.mutable_data_ptr());
  std::copy_n(numbers, count, own);
  const int64_t operation = communicator_->start_sum(sums);
  while (!communicator_->wait(operation, kWaitMilliseconds)) {
  }
  std::copy_n(own, count, numbers);
}

// Each rank puts its own into zeros, so that all find the moments of each: from those to the moments of all without the
// cancellation of sums of squares, and to the same bits on every rank.
ChannelMoments NormSums::of_all(const ChannelMoments& own) {
  const size_t channels = own.mean.size(), row = 2 * channels + 1;
  std::vector<double> rows(row * static_cast<size_t>(communicator_->size()));
  double* mine = rows.data() + row * static_cast<size_t>(communicator_->rank());
  mine[0] = static_cast<double>(own.values);
  std::copy(own.mean.begin(), own.mean.end(), mine + 1);
  std::copy(own.squares.begin(), own.squares.end(), mine + 1 + channels);
  add_up(rows.data(), static_cast<int64_t>(rows.size()));
  double count = 0;
  for (size_t first = 0; first < rows.size(); first += row) count += rows[first];
  if (count < 2) {
    throw Error(
        "batch_norm2d: there is one value a channel on all ranks together, expected more than one for training "
        "statistics");
  }
  ChannelMoments all{static_cast<int64_t>(count), std::vector<double>(channels), std::vector<double>(channels)};
  for (size_t first = 0; first < rows.size(); first += row) {
    const double share = rows[first] / count;
    for (size_t c = 0; c < channels; ++c) all.mean[c] += share * rows[first + 1 + c];
  }
  for (size_t first = 0; first < rows.size(); first += row) {
    for (size_t c = 0; c < channels; ++c) {
      const double off = rows[first + 1 + c] - all.mean[c];
      all.squares[c] += rows[first + 1 + channels + c] + rows[first] * off * off;
    }
  }
  return all;
}

}  // namespace resnet_nodes
