#include "ranks/nccl_functions.h"

#include <dlfcn.h>

#include "device/device_guard.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

class Finder {
 public:
  explicit Finder(const std::string& library) {
    if (find_cuda_symbol("ncclCommInitRank") != nullptr) return;
    library_ = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library_ != nullptr) return;
    const char* const reason = dlerror();
    throw Error("NCCL: " + library + " can't be loaded (" + (reason != nullptr ? reason : "unknown") +
                "); GPUs of several processes need NCCL 2.13 or later: install libnccl2 of NVIDIA's packages");
  }

  template <typename Function>
  void look_up(Function& function, const char* name, const char* remedy) const {
    void* symbol = find_cuda_symbol(name);
    if (symbol == nullptr && library_ != nullptr) symbol = dlsym(library_, name);
    if (symbol == nullptr) throw Error(std::string("NCCL: no loaded library has ") + name + "; " + remedy);
    function = reinterpret_cast<Function>(symbol);
  }

 private:
  void* library_ = nullptr;
};

}  // namespace

NcclFunctions find_nccl(const std::string& library) {
  const Finder finder(library);
  NcclFunctions f = {};
  const auto nccl = [&](auto& function, const char* name) {
    finder.look_up(function, name, "NCCL 2.13 or later is needed");
  };
  nccl(f.get_unique_id, "ncclGetUniqueId");
  nccl(f.comm_init_rank, "ncclCommInitRank");
  nccl(f.all_reduce, "ncclAllReduce");
  nccl(f.broadcast, "ncclBroadcast");
  nccl(f.comm_abort, "ncclCommAbort");
  nccl(f.comm_destroy, "ncclCommDestroy");
  nccl(f.comm_get_async_error, "ncclCommGetAsyncError");
  nccl(f.get_error_string, "ncclGetErrorString");
  nccl(f.get_last_error, "ncclGetLastError");
  const auto cuda = [&](auto& function, const char* name) {
    finder.look_up(function, name, "LibTorch with CUDA is needed");
  };
  cuda(f.stream_create, "cudaStreamCreateWithFlags");
  cuda(f.stream_destroy, "cudaStreamDestroy");
  cuda(f.stream_wait_event, "cudaStreamWaitEvent");
  cuda(f.event_create, "cudaEventCreateWithFlags");
  cuda(f.event_destroy, "cudaEventDestroy");
  cuda(f.event_record, "cudaEventRecord");
  cuda(f.event_query, "cudaEventQuery");
  cuda(f.cuda_get_last_error, "cudaGetLastError");
  cuda(f.cuda_get_error_string, "cudaGetErrorString");
  return f;
}

}  // namespace resnet_nodes
