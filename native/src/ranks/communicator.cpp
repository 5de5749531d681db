// communicator.cpp: checks tensors, keeps them while they travel, and calls the transport.
#include "resnet_nodes/communicator.h"

#include <dlfcn.h>

#include <memory>

#include "device/device_guard.h"
#include "ranks/nccl.h"
#include "ranks/norm_sums.h"
#include "resnet_nodes/error.h"
#include "resnet_nodes/transport.h"
#include "tensors/describe.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

constexpr const char* kNccl = "libnccl.so.2";

// What the loader has against a library, without the library's own path in front.
std::string loader_error(const std::string& library) {
  const char* const text = dlerror();
  std::string error = text != nullptr ? text : "unknown";
  if (error.rfind(library + ": ", 0) == 0) error.erase(0, library.size() + 2);
  return error;
}

ResNetNodesTransport open_transport(const std::string& library, void** handle) {
  // Open MPI's own parts find its symbols only where they are global.
  *handle = dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (*handle == nullptr) {
    throw Error(library + ": can't be loaded: " + loader_error(library) +
                "; it needs Open MPI 4 (Debian: apt-get install openmpi-bin)");
  }
  const auto open = reinterpret_cast<ResNetNodesOpenTransport>(dlsym(*handle, "resnet_nodes_open_transport"));
  if (open == nullptr) throw Error(library + ": has no resnet_nodes_open_transport: it is no transport");
  ResNetNodesTransport transport = {};
  if (const char* const failure = open(&transport)) throw Error(failure);
  return transport;
}

void* data_of(const Tensor& tensor, const char* what) {
  if (!tensor.defined()) throw Error(std::string(what) + ": the tensor is undefined");
  if ((!tensor.is_cpu() && !tensor.is_cuda()) || !tensor.is_contiguous()) {
    throw Error(std::string(what) + ": the tensor is " + whole_text(tensor) +
                ", expected a contiguous one of the CPU or of CUDA");
  }
  return tensor.data_ptr();
}

int32_t element_of(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
      return kResNetNodesFloat32;
    case ScalarType::Double:
      return kResNetNodesFloat64;
    case ScalarType::Long:
      return kResNetNodesInt64;
    default:
      throw Error("sum: the tensor is " + whole_text(tensor) + ", expected float32, float64 or int64");
  }
}

NcclType nccl_type_of(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
      return NcclType::float32;
    case ScalarType::Double:
      return NcclType::float64;
    case ScalarType::Long:
      return NcclType::int64;
    case ScalarType::BFloat16:
      return NcclType::bfloat16;
    case ScalarType::Half:
      return NcclType::float16;
    default:
      throw Error("sum: the tensor is " + whole_text(tensor) + ", expected " + kFloatingTypes + ", or int64");
  }
}

}  // namespace

Communicator::Communicator(const std::string& library)
    : transport_(new ResNetNodesTransport(open_transport(library, &library_))),
      nccl_(std::make_unique<Nccl>(kNccl, *transport_)),
      norm_sums_(std::make_shared<NormSums>(*this)) {}

Communicator::Communicator(const ResNetNodesTransport& transport)
    : transport_(new ResNetNodesTransport(transport)),
      nccl_(std::make_unique<Nccl>(kNccl, *transport_)),
      norm_sums_(std::make_shared<NormSums>(*this)) {}

Communicator::~Communicator() {
  norm_sums_->close();
  nccl_.reset();
  // The library stays: MPI can't be taken down and set up again in a process.
  transport_->close(transport_->state);
  delete transport_;
}

int32_t Communicator::rank() const { return transport_->rank; }
int32_t Communicator::size() const { return transport_->size; }
int32_t Communicator::local_rank() const { return transport_->local_rank; }
int32_t Communicator::local_size() const { return transport_->local_size; }

int64_t Communicator::start_sum(const Tensor& tensor) {
  void* const data = data_of(tensor, "sum");
  if (tensor.is_cuda()) {
    const NcclType type = nccl_type_of(tensor);
    const DeviceGuard guard(tensor);
    const std::lock_guard<std::mutex> lock(order_);
    return keep(nccl_->sum(data, tensor.numel(), type, tensor.get_device_index(), current_cuda_stream(tensor)), tensor);
  }
  const int32_t element = element_of(tensor);
  const std::lock_guard<std::mutex> lock(order_);
  return keep(transport_->sum(transport_->state, data, tensor.numel(), element, nullptr), tensor);
}

int64_t Communicator::start_broadcast(const Tensor& tensor, int32_t root) {
  void* const data = data_of(tensor, "broadcast");
  if (root < 0 || root >= size()) {
    throw Error("broadcast: rank " + std::to_string(root) + ", expected 0 to " + std::to_string(size() - 1));
  }
  const auto bytes = static_cast<int64_t>(tensor.numel() * tensor.element_size());
  const DeviceGuard guard(tensor);
  const std::lock_guard<std::mutex> lock(order_);
  if (tensor.is_cuda()) {
    return keep(nccl_->broadcast(data, bytes, root, tensor.get_device_index(), current_cuda_stream(tensor)), tensor);
  }
  return keep(transport_->broadcast(transport_->state, data, bytes, root, nullptr), tensor);
}

int64_t Communicator::start_barrier() {
  const std::lock_guard<std::mutex> lock(order_);
  return keep(transport_->barrier(transport_->state), Tensor());
}

bool Communicator::wait(int64_t operation, int64_t milliseconds) {
  if (operation < 0) return wait_for_nccl(operation, milliseconds);
  const int32_t state = transport_->wait(transport_->state, operation, milliseconds);
  if (state == -2) throw Error("wait: there is no operation " + std::to_string(operation) + ", or it was waited for");
  if (state == 0) {
    check_limit(operation);
    return false;
  }
  forget(operation);
  if (state < 0) throw Error(std::string("ranks: ") + transport_->failure(transport_->state));
  return true;
}

bool Communicator::wait_for_nccl(int64_t operation, int64_t milliseconds) {
  Tensor tensor;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = operations_.find(operation);
    if (found != operations_.end()) tensor = found->second.tensor;
  }
  const DeviceGuard guard(tensor);
  try {
    if (!nccl_->wait(operation, milliseconds)) {
      check_limit(operation);
      return false;
    }
  } catch (const Error&) {
    forget(operation);
    throw;
  }
  forget(operation);
  return true;
}

void Communicator::abort(int32_t code) {
  nccl_->abort();
  transport_->abort(transport_->state, code);
}

void Communicator::check_limit(int64_t operation) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = operations_.find(operation);
  if (found == operations_.end()) return;
  const auto now = std::chrono::steady_clock::now();
  Kept& kept = found->second;
  if (kept.waited_since == std::chrono::steady_clock::time_point()) kept.waited_since = now;
  if (std::chrono::duration_cast<std::chrono::milliseconds>(now - kept.waited_since).count() < limit_) return;
  throw Error("rank " + std::to_string(rank()) + " has waited " + std::to_string(limit_ / 1000) +
              " seconds for the others: one of them hangs, or its machine can't be reached");
}

int64_t Communicator::keep(int64_t operation, const Tensor& tensor) {
  const std::lock_guard<std::mutex> lock(mutex_);
  operations_.emplace(operation, Kept{tensor, {}});
  return operation;
}

void Communicator::forget(int64_t operation) {
  const std::lock_guard<std::mutex> lock(mutex_);
  operations_.erase(operation);
}

}  // namespace resnet_nodes
