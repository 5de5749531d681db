// communicator.h: the processes that train one network together.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "resnet_nodes/export.h"

struct ResNetNodesTransport;

namespace resnet_nodes {

using torch::stable::Tensor;
class Nccl;
class NormSums;

/// One process among several, its ranks. Every rank starts the same operations in the same order, on tensors of the
/// same shape and type; which those are is the callers' to see to. Methods may be called from any thread.
class RESNET_NODES_API Communicator {
 public:
  /// Joins the other ranks by a library that carries numbers between processes (transport.h): the path of
  /// libresnet_nodes_mpi.so. Throws Error where it can't be loaded, or where this process has not been started as one
  /// of several.
  explicit Communicator(const std::string& library);
  /// Takes over an open transport.
  explicit Communicator(const ResNetNodesTransport& transport);
  /// Leaves the other ranks, which have to do so too. Passes of stages that it synchronizes are over by then: it waits
  /// for one that is under way, and later ones are refused.
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int32_t rank() const;
  int32_t size() const;
  /// Among the ranks of this machine.
  int32_t local_rank() const;
  int32_t local_size() const;

  /// Start an operation on a tensor's own memory, and return its number. The tensor is contiguous, of the CPU or of
  /// CUDA; it is kept until the operation has been waited for, and nothing else may write it until then. Throw Error
  /// where it can't be used.
  ///
  /// CUDA tensors go by NCCL, which is looked for at the first one, on one GPU for each rank; that first operation
  /// waits until every rank has come to it. They are read once the stream that is current at the start has written
  /// them.
  ///
  /// The sum over the ranks in place: float32, float64 or int64. Elements are added up from rank 0 to the last. Of CUDA
  /// also float16 and bfloat16, and in NCCL's order: the same on every rank, but another with other numbers of ranks,
  /// networks and versions of NCCL.
  int64_t start_sum(const Tensor& tensor);
  /// The values of rank `root`, of any type.
  int64_t start_broadcast(const Tensor& tensor, int32_t root);
  /// Done once every rank has started it.
  int64_t start_barrier();

  /// Waits for an operation, so many milliseconds at most. Returns whether it is done; an operation that is done is
  /// forgotten. Throws Error where it has failed, where there is none of this number, and where it is not done and has
  /// been waited for longer than `limit_waits` says. A CUDA tensor then holds the result for every stream and for the
  /// host.
  bool wait(int64_t operation, int64_t milliseconds);
  /// How long a rank waits for the others before it takes them for lost: 10 minutes at first.
  void limit_waits(int64_t milliseconds) { limit_ = milliseconds; }

  /// Ends all ranks at once with this exit code; does not return.
  void abort(int32_t code);

  /// The engine's own: what stages that are synchronized by it (Stage::synchronize) hold of it.
  const std::shared_ptr<NormSums>& norm_sums() const { return norm_sums_; }

 private:
  int64_t keep(int64_t operation, const Tensor& tensor);
  void forget(int64_t operation);
  bool wait_for_nccl(int64_t operation, int64_t milliseconds);
  void check_limit(int64_t operation);

  struct Kept {
    Tensor tensor;
    std::chrono::steady_clock::time_point waited_since;  ///< its beginning: nobody has waited yet
  };

  void* library_ = nullptr;
  ResNetNodesTransport* transport_;
  std::unique_ptr<Nccl> nccl_;
  // Starts come one after the other: operations have one order. One can hang where another rank is gone; who waits for
  // an operation must not hang with it.
  std::mutex order_;
  std::mutex mutex_;
  // Of the operations that have not been waited for.
  std::map<int64_t, Kept> operations_;
  std::atomic<int64_t> limit_{int64_t{10} * 60 * 1000};
  std::shared_ptr<NormSums> norm_sums_;
};

}  // namespace resnet_nodes
