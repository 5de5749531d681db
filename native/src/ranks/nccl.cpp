#include "ranks/nccl.h"

#include <algorithm>
#include <thread>

#include "ranks/pause.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

// cudaStreamNonBlocking: it does not wait for the default stream. cudaEventDisableTiming, cudaErrorNotReady, ncclSum.
constexpr unsigned kNonBlocking = 1, kDisableTiming = 2;
constexpr int kNotReady = 600, kSum = 0;

std::string first_line(const char* text) {
  const std::string whole = text != nullptr ? text : "";
  return whole.substr(0, whole.find('\n'));
}

}  // namespace

Nccl::~Nccl() {
  if (comm_ != nullptr) functions_.comm_destroy(comm_);
  if (stream_ != nullptr) functions_.stream_destroy(stream_);
}

int64_t Nccl::sum(void* data, int64_t count, NcclType type, int32_t device, void* stream) {
  return start(device, stream, [&] {
    const auto elements = static_cast<size_t>(count);
    check_nccl("a sum", functions_.all_reduce(data, data, elements, static_cast<int>(type), kSum, comm_, stream_));
  });
}

int64_t Nccl::broadcast(void* data, int64_t bytes, int32_t root, int32_t device, void* stream) {
  return start(device, stream, [&] {
    const int type = static_cast<int>(NcclType::uint8);
    check_nccl("a broadcast", functions_.broadcast(data, data, static_cast<size_t>(bytes), type, root, comm_, stream_));
  });
}

// One event serves twice: a stream waits for what was recorded when it was told to.
template <class Enqueue>
int64_t Nccl::start(int32_t device, void* stream, const Enqueue& enqueue) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!failure_.empty()) throw Error(failure_);
  if (comm_ != nullptr && device != device_) {
    throw Error("ranks: the tensor is on cuda:" + std::to_string(device) +
                ", the first one was on cuda:" + std::to_string(device_) + "; a rank has one GPU");
  }
  giving_up([&] {
    if (comm_ == nullptr) open(device);
    void* created = nullptr;
    check_cuda("making an event", functions_.event_create(&created, kDisableTiming));
    Event event(created, functions_.event_destroy);
    check_cuda("recording an event", functions_.event_record(created, stream));
    check_cuda("waiting for a stream", functions_.stream_wait_event(stream_, created, 0));
    enqueue();
    check_cuda("recording an event", functions_.event_record(created, stream_));
    events_.emplace(--last_, std::move(event));
  });
  return last_;
}

// The other ranks wait for this one's next operation, which won't come: the communicator is of no more use.
template <class Call>
auto Nccl::giving_up(const Call& call) {
  try {
    return call();
  } catch (const Error& error) {
    failure_ = error.what();
    abort_communicator();
    throw;
  }
}

// All ranks join or none does: where one lacks NCCL, the others would wait for it for ever.
void Nccl::open(int32_t device) {
  NcclId id = {};
  std::string failure;
  try {
    prepare(&id);
  } catch (const Error& error) {
    failure = error.what();
  }
  int64_t failed = failure.empty() ? 0 : 1;
  exchange(transport_.sum(transport_.state, &failed, 1, kResNetNodesInt64, nullptr));
  if (!failure.empty()) throw Error(failure);
  if (failed > 0) {
    throw Error("NCCL: " + std::to_string(failed) + " of " + std::to_string(transport_.size) +
                " ranks can't use it; their own errors say why");
  }
  exchange(transport_.broadcast(transport_.state, &id, sizeof(id), 0, nullptr));
  void* comm = nullptr;
  check_nccl("joining the ranks", functions_.comm_init_rank(&comm, transport_.size, id, transport_.rank));
  comm_ = comm;
  device_ = device;
}

void Nccl::prepare(NcclId* id) {
  functions_ = find_nccl(library_);
  check_cuda("making a stream", functions_.stream_create(&stream_, kNonBlocking));
  if (transport_.rank == 0) check_nccl("an id for the ranks", functions_.get_unique_id(id));
}

void Nccl::exchange(int64_t operation) const {
  constexpr int64_t kMilliseconds = 1000;
  for (;;) {
    const int32_t state = transport_.wait(transport_.state, operation, kMilliseconds);
    if (state < 0) throw Error(std::string("ranks: ") + transport_.failure(transport_.state));
    if (state > 0) return;
  }
}

bool Nccl::wait(int64_t operation, int64_t milliseconds) {
  const Time end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  for (Pause pause;; pause()) {
    if (const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock); lock.owns_lock()) {
      auto found = events_.extract(operation);
      if (found.empty()) {
        throw Error("wait: there is no operation " + std::to_string(operation) + ", or it was waited for");
      }
      if (!failure_.empty()) throw Error(failure_);
      if (giving_up([&] { return is_done(found.mapped().get()); })) return true;
      events_.insert(std::move(found));
    }
    if (std::chrono::steady_clock::now() >= end) return false;
  }
}

// The error is read second: an operation that has ended by it is not done.
bool Nccl::is_done(void* event) const {
  const int state = functions_.event_query(event);
  int error = 0;
  check_nccl("asking for errors", functions_.comm_get_async_error(comm_, &error));
  check_nccl("an operation", error);
  if (state != kNotReady) {
    check_cuda("an operation", state);
    return true;
  }
  // CUDA keeps it as the thread's last error, which LibTorch would take for its own next call's.
  functions_.cuda_get_last_error();
  return false;
}

void Nccl::abort() {
  constexpr int kTries = 100;
  for (int tries = 0; tries < kTries; ++tries) {
    if (const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock); lock.owns_lock()) {
      failure_ = "ranks: they were aborted";
      return abort_communicator();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void Nccl::abort_communicator() {
  if (comm_ != nullptr) functions_.comm_abort(comm_);
  comm_ = nullptr;
}

void Nccl::check_nccl(const char* what, int code) const {
  if (code == 0) return;
  const std::string last = first_line(functions_.get_last_error(nullptr));
  throw Error(std::string("NCCL: ") + what + " failed: " + first_line(functions_.get_error_string(code)) +
              (last.empty() ? "" : ": " + last) + "; end all ranks and start them again");
}

void Nccl::check_cuda(const char* what, int code) const {
  if (code == 0) return;
  functions_.cuda_get_last_error();
  throw Error(std::string("NCCL: ") + what + " failed: CUDA: " + first_line(functions_.cuda_get_error_string(code)) +
              "; end all ranks and start them again");
}

}  // namespace resnet_nodes
