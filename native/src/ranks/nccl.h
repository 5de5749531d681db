// nccl.h: operations between ranks on memory of GPUs, by NCCL.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "ranks/nccl_functions.h"
#include "resnet_nodes/transport.h"

namespace resnet_nodes {

/// ncclDataType_t.
enum class NcclType : int { uint8 = 1, int64 = 4, float16 = 6, float32 = 7, float64 = 8, bfloat16 = 9 };

/// One rank's part of a communicator of NCCL's, on one GPU. The first operation joins the ranks by the transport, and
/// waits until all have come to it. Starts come one at a time, in the same order on every rank; everything may be
/// called from any thread whose current device is that of the memory.
class Nccl {
 public:
  /// Loads nothing yet. The transport has to outlive this.
  Nccl(std::string library, const ResNetNodesTransport& transport) : library_(library), transport_(transport) {}
  ~Nccl();
  Nccl(const Nccl&) = delete;
  Nccl& operator=(const Nccl&) = delete;

  /// Start an operation in place and return its number, which is negative: transports' are not. It comes after what
  /// `stream` was given before. Throw Error.
  int64_t sum(void* data, int64_t count, NcclType type, int32_t device, void* stream);
  int64_t broadcast(void* data, int64_t bytes, int32_t root, int32_t device, void* stream);

  /// Waits so many milliseconds at most. True: the memory holds the result, for any stream and for the host. Throws
  /// Error where the operation has failed, because of another rank as well: then all others fail too.
  bool wait(int64_t operation, int64_t milliseconds);

  /// Ends what is under way, as far as no other thread hangs in a call.
  void abort();

 private:
  // An event is destroyed by CUDA's function.
  using Event = std::unique_ptr<void, int (*)(void* event)>;
  using Time = std::chrono::steady_clock::time_point;

  template <class Enqueue>
  int64_t start(int32_t device, void* stream, const Enqueue& enqueue);
  template <class Call>
  auto giving_up(const Call& call);
  void open(int32_t device);
  void prepare(NcclId* id);
  void exchange(int64_t operation) const;
  bool is_done(void* event) const;
  void check_nccl(const char* what, int code) const;
  void check_cuda(const char* what, int code) const;
  void abort_communicator();

  const std::string library_;
  const ResNetNodesTransport& transport_;
  // A start can hang in NCCL where another rank is gone; who waits or aborts only tries, so as not to hang with it.
  std::mutex mutex_;
  // Why the ranks can't be joined, or why an operation has failed: the reason for all later ones.
  std::string failure_;
  NcclFunctions functions_ = {};
  void* comm_ = nullptr;
  void* stream_ = nullptr;
  int32_t device_ = -1;
  int64_t last_ = 0;
  std::map<int64_t, Event> events_;
};

}  // namespace resnet_nodes
