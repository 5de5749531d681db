#include "device/cuda_graph.h"

#include <cstddef>
#include <exception>
#include <string>

#include "device/device_guard.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

constexpr const char* kTurnOff = "; turn cuda_graphs off";

// at::cuda::CUDAGraph is not in the stable ABI. Its members are looked up by their mangled names, which hold their
// arguments: one with others has another name and is not found, instead of being called wrongly. A constructor, a
// destructor and members are functions of the object's address; std::pair<unsigned long long, unsigned long long> and
// an enumeration are passed like here, where both are built for the same platform.
struct CudaGraphFunctions {
  void (*construct)(void* graph, bool keep_graph);
  void (*destroy)(void* graph);
  void (*capture_begin)(void* graph, GraphPool pool, int mode);
  void (*capture_end)(void* graph);
  void (*replay)(void* graph);
  GraphPool (*new_pool)();
};

template <typename Function>
void look_up(Function& function, const char* name) {
  function = reinterpret_cast<Function>(find_cuda_symbol(name));
  if (function != nullptr) return;
  throw Error(std::string("cuda_graphs: no loaded library has ") + name +
              ", which LibTorch 2.10 with CUDA has; take that one, or leave cuda_graphs off");
}

const CudaGraphFunctions& functions() {
  static const CudaGraphFunctions found = [] {
    CudaGraphFunctions f;
    look_up(f.construct, "_ZN2at4cuda9CUDAGraphC1Eb");
    look_up(f.destroy, "_ZN2at4cuda9CUDAGraphD1Ev");
    look_up(f.capture_begin, "_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode");
    look_up(f.capture_end, "_ZN2at4cuda9CUDAGraph11capture_endEv");
    look_up(f.replay, "_ZN2at4cuda9CUDAGraph6replayEv");
    look_up(f.new_pool, "_ZN2at4cuda17graph_pool_handleEv");
    return f;
  }();
  return found;
}

// cudaStreamCaptureModeThreadLocal: what other threads do, loaders of batches for one, does not disturb.
constexpr int kThreadLocal = 1;

// Room for a CUDAGraph of any LibTorch to come: it holds a few hundred bytes of handles and numbers (what grows is on
// the heap), and its size is not known at run time.
constexpr size_t kRoom = 4096;
struct alignas(std::max_align_t) Room {
  std::byte bytes[kRoom];
};

std::string first_line(const std::exception& error) {
  const std::string whole = error.what();
  return whole.substr(0, whole.find('\n'));
}

// LibTorch's exceptions as ours.
template <typename Call>
auto checked(const char* what, const Call& call) {
  try {
    return call();
  } catch (const std::exception& error) {
    throw Error(std::string("cuda_graphs: ") + what + " failed: " + first_line(error) + kTurnOff);
  }
}

class CudaGraph final : public GraphCapture {
 public:
  CudaGraph(const Tensor& x, const GraphPool& pool)
      : device_(x.get_device_index()), pool_(pool), room_(std::make_unique<Room>()) {
    checked("making a graph", [&] { functions().construct(room_.get(), false); });
  }

  ~CudaGraph() override {
    functions().destroy(room_.get());
    // Where recording has failed LibTorch's allocator still asks the object, for every allocation, if it is its own.
    if (!recorded_) static_cast<void>(room_.release());
  }

  void record(const Pass& pass) override {
    // Not on the default stream, which can't be recorded. Nothing runs on this one, so that it has to wait for nothing.
    const SideStreamGuard stream(device_);
    checked("recording", [&] { functions().capture_begin(room_.get(), pool_, kThreadLocal); });
    std::string reason;
    try {
      results_ = pass();
    } catch (const std::exception& error) {
      reason = first_line(error);
    }
    // In either case: the stream would go on recording.
    try {
      functions().capture_end(room_.get());
    } catch (const std::exception& error) {
      if (reason.empty()) reason = first_line(error);
    }
    recorded_ = reason.empty();
    if (recorded_) return;
    results_.clear();
    throw Error("cuda_graphs: a pass could not be recorded: " + reason + kTurnOff);
  }

  const std::vector<Tensor>& replay() override {
    checked("a replay", [&] { functions().replay(room_.get()); });
    return results_;
  }

 private:
  int32_t device_;
  GraphPool pool_;
  std::unique_ptr<Room> room_;
  bool recorded_ = false;
  std::vector<Tensor> results_;
};

}  // namespace

void check_cuda_graphs() { functions(); }

GraphPool new_cuda_graph_pool() {
  return checked("making a pool", [] { return functions().new_pool(); });
}

std::unique_ptr<GraphCapture> new_cuda_graph(const Tensor& x, const GraphPool& pool) {
  return std::make_unique<CudaGraph>(x, pool);
}

}  // namespace resnet_nodes
