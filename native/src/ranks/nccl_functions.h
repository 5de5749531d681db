// nccl_functions.h: what is used of NCCL and of CUDA's runtime, by their C ABI, found at run time, so that one binary
// serves machines with and without them.
#pragma once

#include <cstddef>
#include <string>

namespace resnet_nodes {

/// ncclUniqueId.
struct NcclId {
  char bytes[128];
};

/// Results are codes, of which 0 is success. Streams, events and communicators are pointers.
struct NcclFunctions {
  int (*get_unique_id)(NcclId* id);
  int (*comm_init_rank)(void** comm, int ranks, NcclId id, int rank);
  int (*all_reduce)(const void* from, void* to, size_t count, int type, int operation, void* comm, void* stream);
  int (*broadcast)(const void* from, void* to, size_t count, int type, int root, void* comm, void* stream);
  int (*comm_abort)(void* comm);
  int (*comm_destroy)(void* comm);
  int (*comm_get_async_error)(void* comm, int* error);
  const char* (*get_error_string)(int error);
  const char* (*get_last_error)(void* comm);

  int (*stream_create)(void** stream, unsigned flags);
  int (*stream_destroy)(void* stream);
  int (*stream_wait_event)(void* stream, void* event, unsigned flags);
  int (*event_create)(void** event, unsigned flags);
  int (*event_destroy)(void* event);
  int (*event_record)(void* event, void* stream);
  int (*event_query)(void* event);
  int (*cuda_get_last_error)();
  const char* (*cuda_get_error_string)(int error);
};

/// Of the libraries that are loaded (LibTorch's with CUDA bring both), else of `library`. Throws Error where one is
/// missing.
NcclFunctions find_nccl(const std::string& library);

}  // namespace resnet_nodes
