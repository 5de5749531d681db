// mpi.cpp: the transport of Open MPI, a library of its own (transport.h). One thread makes all of MPI's calls: whoever
// starts an operation goes on meanwhile. Between two looks at a request it sleeps, so that the core is the network's.
#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "ranks/pause.h"
#include "resnet_nodes/export.h"
#include "resnet_nodes/transport.h"

namespace {

// So much of a sum is under way at a time, and once more while the next part begins.
constexpr int64_t kPartBytes = int64_t{4} << 20;
// A broadcast's calls count in int.
constexpr int64_t kBroadcastBytes = int64_t{1} << 28;

enum class State { waiting, done, failed };

class Mpi;

struct Operation {
  int64_t number;
  void (Mpi::*run)(const Operation&);
  void* data;
  int64_t count;
  int32_t argument;
};

struct Failed {
  std::string text;
};

void check(int code) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Failed{std::string("Open MPI: ") + std::string(text, static_cast<size_t>(length))};
}

// Elements of a part that are one rank's to add up.
struct Shares {
  std::vector<int> counts;
  std::vector<int> starts;

  Shares(int64_t elements, int ranks) {
    int64_t start = 0;
    for (int64_t r = 0; r < ranks; ++r) {
      const int64_t end = elements * (r + 1) / ranks;
      starts.push_back(static_cast<int>(start));
      counts.push_back(static_cast<int>(end - start));
      start = end;
    }
  }
};

class Mpi {
 public:
  Mpi() : thread_([this] { live(); }) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return opened_; });
  }

  /// Why MPI could not be opened, or why an operation has failed, which does not change any more; empty where nothing
  /// has.
  const std::string& failure() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return failure_;
  }

  void join() { thread_.join(); }

  void fill(ResNetNodesTransport* transport) const {
    transport->rank = rank_, transport->size = size_;
    transport->local_rank = local_rank_, transport->local_size = local_size_;
  }

  int64_t start(Operation operation) {
    const std::lock_guard<std::mutex> lock(mutex_);
    operation.number = ++last_;
    states_[operation.number] = State::waiting;
    queue_.push_back(operation);
    changed_.notify_all();
    return operation.number;
  }

  int32_t wait(int64_t number, int64_t milliseconds) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto is_waiting = [&] {
      const auto found = states_.find(number);
      return found != states_.end() && found->second == State::waiting;
    };
    changed_.wait_for(lock, std::chrono::milliseconds(milliseconds), [&] { return !is_waiting(); });
    if (is_waiting()) return 0;
    const auto found = states_.find(number);
    if (found == states_.end()) return -2;
    const bool done = found->second == State::done;
    states_.erase(found);
    return done ? 1 : -1;
  }

  [[noreturn]] void abort(int32_t code) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      abort_code_ = code;
      abort_ = true;
    }
    changed_.notify_all();
    // The thread ends the process.
    for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
  }

  void close() {
    start({0, &Mpi::finalize, nullptr, 0, 0});
    join();
  }

  void broadcast(const Operation& operation) {
    auto* const bytes = static_cast<char*>(operation.data);
    for (int64_t at = 0; at < operation.count; at += kBroadcastBytes) {
      MPI_Request request;
      const int count = static_cast<int>(std::min(kBroadcastBytes, operation.count - at));
      check(MPI_Ibcast(bytes + at, count, MPI_BYTE, operation.argument, world_, &request));
      complete(request);
    }
  }

  void barrier(const Operation&) {
    MPI_Request request;
    check(MPI_Ibarrier(world_, &request));
    complete(request);
  }

  void sum(const Operation& operation) {
    switch (operation.argument) {
      case kResNetNodesFloat32:
        return sum_of<float>(operation, MPI_FLOAT);
      case kResNetNodesFloat64:
        return sum_of<double>(operation, MPI_DOUBLE);
      case kResNetNodesInt64:
        return sum_of<int64_t>(operation, MPI_INT64_T);
      default:
        throw Failed{"sum: unknown type of element " + std::to_string(operation.argument)};
    }
  }

 private:
  // Every rank gets its share of all ranks' elements, adds them up in the ranks' order, and gives the sums to all. The
  // elements of the next part travel while the sums of this one do.
  template <class T>
  void sum_of(const Operation& operation, MPI_Datatype type) {
    if (size_ == 1) return;
    auto* const data = static_cast<T*>(operation.data);
    constexpr int64_t part = kPartBytes / static_cast<int64_t>(sizeof(T));
    std::vector<T> given[2];
    MPI_Request scattered = MPI_REQUEST_NULL, gathered = MPI_REQUEST_NULL;
    const auto scatter = [&](int64_t index) {
      const Shares shares(std::min(part, operation.count - index * part), size_);
      const int own = shares.counts[static_cast<size_t>(rank_)];
      std::vector<T>& target = given[index % 2];
      target.resize(static_cast<size_t>(own) * static_cast<size_t>(size_));
      // The lists have to last until the request is complete.
      scatter_counts_[index % 2].assign(static_cast<size_t>(size_), own);
      std::vector<int>& starts = scatter_starts_[index % 2];
      starts.clear();
      for (int r = 0; r < size_; ++r) starts.push_back(r * own);
      scatter_shares_[index % 2] = shares;
      const Shares& kept = scatter_shares_[index % 2];
      check(MPI_Ialltoallv(data + index * part, kept.counts.data(), kept.starts.data(), type, target.data(),
                           scatter_counts_[index % 2].data(), starts.data(), type, world_, &scattered));
    };
    const int64_t parts = (operation.count + part - 1) / part;
    if (parts > 0) scatter(0);
    for (int64_t index = 0; index < parts; ++index) {
      complete(scattered);
      if (index + 1 < parts) scatter(index + 1);
      complete(gathered);
      const Shares shares = scatter_shares_[index % 2];
      const auto own = static_cast<size_t>(shares.counts[static_cast<size_t>(rank_)]);
      T* const sums = data + index * part + shares.starts[static_cast<size_t>(rank_)];
      const T* const terms = given[index % 2].data();
      std::copy(terms, terms + own, sums);
      for (size_t r = 1; r < static_cast<size_t>(size_); ++r) {
        for (size_t i = 0; i < own; ++i) sums[i] += terms[r * own + i];
      }
      gather_shares_ = shares;
      check(MPI_Iallgatherv(MPI_IN_PLACE, 0, type, data + index * part, gather_shares_.counts.data(),
                            gather_shares_.starts.data(), type, world_, &gathered));
    }
    complete(gathered);
  }

  void finalize(const Operation&) {
    check(MPI_Finalize());
    finalized_ = true;
  }

  void complete(MPI_Request& request) {
    for (resnet_nodes::Pause pause;; pause()) {
      int done = 0;
      check(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
      if (done != 0) return;
      end_if_asked();
    }
  }

  void end_if_asked() {
    if (!abort_) return;
    MPI_Abort(MPI_COMM_WORLD, abort_code_);
    std::_Exit(abort_code_);
  }

  void open() {
    int provided = 0;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided));
    check(MPI_Comm_dup(MPI_COMM_WORLD, &world_));
    check(MPI_Comm_set_errhandler(world_, MPI_ERRORS_RETURN));
    check(MPI_Comm_rank(world_, &rank_));
    check(MPI_Comm_size(world_, &size_));
    MPI_Comm machine;
    check(MPI_Comm_split_type(world_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &machine));
    check(MPI_Comm_rank(machine, &local_rank_));
    check(MPI_Comm_size(machine, &local_size_));
    check(MPI_Comm_free(&machine));
  }

  void live() {
    std::string failure;
    try {
      open();
    } catch (const Failed& failed) {
      failure = failed.text;
    }
    std::unique_lock<std::mutex> lock(mutex_);
    failure_ = failure;
    opened_ = true;
    changed_.notify_all();
    while (failure.empty() && !finalized_) {
      changed_.wait(lock, [this] { return !queue_.empty() || abort_; });
      lock.unlock();
      end_if_asked();
      lock.lock();
      const Operation operation = queue_.front();
      queue_.pop_front();
      // One operation has failed: no later one can be known to meet the same one of the other ranks.
      if (failure_.empty() || operation.run == &Mpi::finalize) {
        lock.unlock();
        failure = run(operation);
        lock.lock();
        if (!failure.empty() && failure_.empty()) failure_ = failure;
        failure.clear();
      }
      states_[operation.number] = failure_.empty() ? State::done : State::failed;
      changed_.notify_all();
    }
  }

  std::string run(const Operation& operation) {
    try {
      (this->*operation.run)(operation);
      return {};
    } catch (const Failed& failed) {
      return failed.text;
    } catch (const std::exception& error) {
      return error.what();
    }
  }

  // Of the thread alone, once it lives.
  MPI_Comm world_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
  bool finalized_ = false;
  std::vector<int> scatter_counts_[2], scatter_starts_[2];
  Shares scatter_shares_[2] = {Shares(0, 0), Shares(0, 0)}, gather_shares_{0, 0};

  std::atomic<bool> abort_{false};
  std::atomic<int32_t> abort_code_{1};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool opened_ = false;
  std::string failure_;
  std::deque<Operation> queue_;
  std::map<int64_t, State> states_;
  int64_t last_ = 0;
  std::thread thread_;
};

// Open MPI, and others that speak PMIx, as Slurm's srun.
bool is_launched() {
  for (const char* const name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

Mpi& of(void* state) { return *static_cast<Mpi*>(state); }

}  // namespace

extern "C" RESNET_NODES_API const char* RESNET_NODES_OPEN_TRANSPORT(ResNetNodesTransport* transport) {
  static std::atomic<bool> was_opened{false};
  static std::string failure;
  if (!is_launched()) return "this process has not been started as one of several; start it by mpirun -n K";
  if (was_opened.exchange(true)) return "the ranks are joined already; a process can join them once";
  auto* const mpi = new Mpi();
  failure = mpi->failure();
  if (!failure.empty()) {
    mpi->join();
    delete mpi;
    return failure.c_str();
  }
  mpi->fill(transport);
  transport->state = mpi;
  transport->broadcast = [](void* state, void* data, int64_t bytes, int32_t root, void*) {
    return of(state).start({0, &Mpi::broadcast, data, bytes, root});
  };
  transport->sum = [](void* state, void* data, int64_t count, int32_t element, void*) {
    return of(state).start({0, &Mpi::sum, data, count, element});
  };
  transport->barrier = [](void* state) { return of(state).start({0, &Mpi::barrier, nullptr, 0, 0}); };
  transport->wait = [](void* state, int64_t operation, int64_t milliseconds) {
    return of(state).wait(operation, milliseconds);
  };
  transport->failure = [](void* state) { return of(state).failure().c_str(); };
  transport->abort = [](void* state, int32_t code) { of(state).abort(code); };
  transport->close = [](void* state) {
    of(state).close();
    delete &of(state);
  };
  return nullptr;
}
