// nccl_stand_in.cpp: what ranks/nccl_functions.cpp looks up, by the same names, on memory of the host. Ranks are
// threads of one process, GPUs are numbers, and a stream is a thread that does one thing after the other, so that an
// operation that waits for too little computes with what is not there yet. nccl_test.cpp loads it.
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#define STAND_IN extern "C" __attribute__((visibility("default")))

namespace {

constexpr int kSuccess = 0, kInvalidUsage = 5, kInvalidHandle = 400, kNotReady = 600;

// Calls by name, and what they are to return.
std::mutex calls_mutex;
std::map<std::string, int> calls, failures;
std::atomic<const char*> last_error{""};

int called(const char* name) {
  const std::lock_guard<std::mutex> lock(calls_mutex);
  ++calls[name];
  return failures[name];
}

thread_local int current_device = 0;
thread_local int last_cuda_error = kSuccess;

int cuda_result(int code) {
  if (code != kSuccess) last_cuda_error = code;
  return code;
}

class Flag {
 public:
  void set() {
    const std::lock_guard<std::mutex> lock(mutex_);
    set_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return set_; });
  }
  bool is_set() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return set_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

class Stream {
 public:
  ~Stream() {
    give(nullptr);
    thread_.join();
  }

  void give(std::function<void()> task) {
    const std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
    changed_.notify_all();
  }

  const int device = current_device;

 private:
  void live() {
    for (;;) {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return !tasks_.empty(); });
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      if (!task) return;
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::thread thread_{[this] { live(); }};
};

struct Event {
  const int device = current_device;
  // Of the last record.
  std::shared_ptr<Flag> flag;
};

struct Id {
  char bytes[128];
};

// The ranks of one id.
class Group {
 public:
  explicit Group(int size) : terms(static_cast<size_t>(size)), devices(static_cast<size_t>(size)) {}

  /// Whether all have come; not where one has aborted.
  bool meet() {
    std::unique_lock<std::mutex> lock(mutex_);
    const int64_t meeting = meetings_;
    if (++arrived_ == terms.size()) {
      arrived_ = 0, ++meetings_;
      changed_.notify_all();
    }
    changed_.wait(lock, [&] { return meetings_ != meeting || aborted_; });
    return !aborted_;
  }
  void abort() {
    const std::lock_guard<std::mutex> lock(mutex_);
    aborted_ = true;
    changed_.notify_all();
  }

  std::vector<const char*> terms;
  std::vector<int> devices;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t arrived_ = 0;
  int64_t meetings_ = 0;
  bool aborted_ = false;
};

std::mutex groups_mutex;
int64_t last_id = 0;
std::map<std::string, std::shared_ptr<Group>> groups;

struct Comm {
  std::shared_ptr<Group> group;
  size_t rank;
};

// In another order than that of the ranks.
template <class T>
void add(const Group& group, char* to, size_t count) {
  std::vector<T> sums(count);
  for (size_t rank = group.terms.size(); rank-- > 0;) {
    for (size_t i = 0; i < count; ++i) sums[i] = sums[i] + reinterpret_cast<const T*>(group.terms[rank])[i];
  }
  std::memcpy(to, sums.data(), count * sizeof(T));
}

// What a rank computes of all ranks' terms is written once no rank reads terms any more.
template <class Compute>
int give(void* comm, const void* from, void* to, void* stream, size_t bytes, const Compute& compute) {
  const Comm at = *static_cast<Comm*>(comm);
  static_cast<Stream*>(stream)->give([=] {
    at.group->terms[at.rank] = static_cast<const char*>(from);
    if (!at.group->meet()) return;
    std::vector<char> result(bytes);
    compute(*at.group, result.data());
    if (at.group->meet()) std::memcpy(to, result.data(), bytes);
  });
  return kSuccess;
}

}  // namespace

STAND_IN int ncclGetUniqueId(Id* id) {
  const std::lock_guard<std::mutex> lock(groups_mutex);
  std::snprintf(id->bytes, sizeof(id->bytes), "%0120lld", static_cast<long long>(++last_id));
  return called("ncclGetUniqueId");
}

STAND_IN int ncclCommInitRank(void** comm, int ranks, Id id, int rank) {
  if (const int code = called("ncclCommInitRank")) return code;
  std::shared_ptr<Group> group;
  {
    const std::lock_guard<std::mutex> lock(groups_mutex);
    std::shared_ptr<Group>& found = groups[id.bytes];
    if (found == nullptr) found = std::make_shared<Group>(ranks);
    group = found;
  }
  group->devices[static_cast<size_t>(rank)] = current_device;
  group->meet();
  if (ranks > 1 && group->devices[0] == group->devices[1]) {
    last_error = "Duplicate GPU detected : rank 0 and rank 1 both on CUDA device 4000\nand more";
    return kInvalidUsage;
  }
  *comm = new Comm{group, static_cast<size_t>(rank)};
  return kSuccess;
}

STAND_IN int ncclAllReduce(const void* from, void* to, size_t count, int type, int, void* comm, void* stream) {
  if (const int code = called("ncclAllReduce")) return code;
  const auto sum = [&](auto zero) {
    using T = decltype(zero);
    return give(comm, from, to, stream, count * sizeof(T),
                [count](const Group& group, char* result) { add<T>(group, result, count); });
  };
  // ncclDataType_t.
  switch (type) {
    case 4:
      return sum(int64_t{});
    case 6:
      return sum(c10::Half{});
    case 7:
      return sum(float{});
    case 8:
      return sum(double{});
    case 9:
      return sum(c10::BFloat16{});
    default:
      return kInvalidUsage;
  }
}

STAND_IN int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, void* comm, void* stream) {
  if (const int code = called("ncclBroadcast")) return code;
  if (type != 1) return kInvalidUsage;
  return give(comm, from, to, stream, count, [count, root](const Group& group, char* result) {
    std::memcpy(result, group.terms[static_cast<size_t>(root)], count);
  });
}

STAND_IN int ncclCommAbort(void* comm) {
  const std::unique_ptr<Comm> owned(static_cast<Comm*>(comm));
  owned->group->abort();
  return called("ncclCommAbort");
}

STAND_IN int ncclCommDestroy(void* comm) {
  const std::unique_ptr<Comm> owned(static_cast<Comm*>(comm));
  return called("ncclCommDestroy");
}

STAND_IN int ncclCommGetAsyncError(void*, int* error) {
  *error = called("ncclCommGetAsyncError");
  return kSuccess;
}

STAND_IN const char* ncclGetErrorString(int error) { return error == kInvalidUsage ? "invalid usage" : "remote error"; }

STAND_IN const char* ncclGetLastError(void*) { return last_error; }

STAND_IN int cudaSetDevice(int device) {
  current_device = device;
  return kSuccess;
}

// As CUDA: an event and its stream are of one device.
STAND_IN int cudaStreamCreateWithFlags(void** stream, unsigned) {
  if (const int code = called("cudaStreamCreateWithFlags")) return cuda_result(code);
  *stream = new Stream;
  return kSuccess;
}

STAND_IN int cudaStreamDestroy(void* stream) {
  delete static_cast<Stream*>(stream);
  return called("cudaStreamDestroy");
}

STAND_IN int cudaStreamWaitEvent(void* stream, void* event, unsigned) {
  const std::shared_ptr<Flag> flag = static_cast<Event*>(event)->flag;
  static_cast<Stream*>(stream)->give([flag] { flag->wait(); });
  return cuda_result(called("cudaStreamWaitEvent"));
}

STAND_IN int cudaEventCreateWithFlags(void** event, unsigned) {
  if (const int code = called("cudaEventCreateWithFlags")) return cuda_result(code);
  *event = new Event;
  return kSuccess;
}

STAND_IN int cudaEventDestroy(void* event) {
  delete static_cast<Event*>(event);
  return called("cudaEventDestroy");
}

STAND_IN int cudaEventRecord(void* event, void* stream) {
  if (const int code = called("cudaEventRecord")) return cuda_result(code);
  if (static_cast<Event*>(event)->device != static_cast<Stream*>(stream)->device) return cuda_result(kInvalidHandle);
  const auto flag = std::make_shared<Flag>();
  static_cast<Event*>(event)->flag = flag;
  static_cast<Stream*>(stream)->give([flag] { flag->set(); });
  return kSuccess;
}

STAND_IN int cudaEventQuery(void* event) {
  if (const int code = called("cudaEventQuery")) return cuda_result(code);
  return static_cast<Event*>(event)->flag->is_set() ? kSuccess : cuda_result(kNotReady);
}

STAND_IN int cudaGetLastError() { return std::exchange(last_cuda_error, kSuccess); }
STAND_IN const char* cudaGetErrorString(int) { return "an illegal memory access was encountered"; }

STAND_IN void stand_in_give(void* stream, void (*task)(void*), void* argument) {
  static_cast<Stream*>(stream)->give([=] { task(argument); });
}
STAND_IN void stand_in_fail(const char* name, int code) {
  const std::lock_guard<std::mutex> lock(calls_mutex);
  failures[name] = code;
}
STAND_IN int stand_in_calls(const char* name) {
  const std::lock_guard<std::mutex> lock(calls_mutex);
  return calls[name];
}
STAND_IN void stand_in_forget() {
  const std::lock_guard<std::mutex> lock(calls_mutex);
  calls.clear(), failures.clear();
  last_error = "";
}
