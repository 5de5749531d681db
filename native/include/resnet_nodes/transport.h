// transport.h: what carries numbers from one process to another, as a table of C functions. A library of its own fills
// it (resnet_nodes_mpi), so that the engine needs none of them.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ResNetNodesElement { kResNetNodesFloat32 = 0, kResNetNodesFloat64 = 1, kResNetNodesInt64 = 2 };

/// Ranks are numbered from 0. Every rank starts the same operations in the same order. An operation owns its memory
/// from its start until `wait` has told that it is done. Functions may be called from any thread.
struct ResNetNodesTransport {
  int32_t rank;
  int32_t size;
  /// Among the ranks of this machine.
  int32_t local_rank;
  int32_t local_size;
  void* state;

  /// Start an operation and return its number, which is not negative. `stream` is the CUDA stream that has written the
  /// data and reads the result; null for memory of the CPU.
  int64_t (*broadcast)(void* state, void* data, int64_t bytes, int32_t root, void* stream);
  /// Each element becomes the sum over the ranks, added up from rank 0 to the last: the same bits on every rank,
  /// whatever the network and its algorithms.
  int64_t (*sum)(void* state, void* data, int64_t count, int32_t element, void* stream);
  /// Done once every rank has started it.
  int64_t (*barrier)(void* state);

  /// Waits for an operation, so many milliseconds at most: 1 done, 0 not yet, -1 failed, -2 no such operation.
  int32_t (*wait)(void* state, int64_t operation, int64_t milliseconds);
  /// Why operations failed; lives as long as the transport.
  const char* (*failure)(void* state);

  /// Ends all ranks at once with this exit code; does not return.
  void (*abort)(void* state, int32_t code);
  /// Called once by every rank, all operations being done.
  void (*close)(void* state);
};

/// Fills the table. Returns null, or why it can't: one line, which the library keeps.
typedef const char* (*ResNetNodesOpenTransport)(struct ResNetNodesTransport* transport);

/// The name under which a library exports such a function.
#define RESNET_NODES_OPEN_TRANSPORT resnet_nodes_open_transport

#ifdef __cplusplus
}
#endif
