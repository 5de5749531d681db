#include "device/cuda_graph.h"

#include <torch/csrc/stable/ops.h>

#include <cstddef>
#include <exception>
#include <mutex>
#include <string>
#include <utility>

#include "device/device_guard.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

constexpr const char* kTurnOff = "; turn cuda_graphs off";

// LibTorch's MempoolId_t.
using Pool = std::pair<unsigned long long, unsigned long long>;

// at::cuda::CUDAGraph is not in the stable ABI. Its members are looked up by their mangled names, which hold their
// arguments: one with others has another name and is not found, instead of being called wrongly. A constructor, a
// destructor and members are functions of the object's address; std::pair<unsigned long long, unsigned long long> and
// an enumeration are passed like here, where both are built for the same platform.
struct CudaGraphFunctions {
  void (*construct)(void* graph, bool keep_graph);
  void (*destroy)(void* graph);
  void (*capture_begin)(void* graph, Pool pool, int mode);
  void (*capture_end)(void* graph);
  void (*replay)(void* graph);
  Pool (*new_pool)();
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

// A CUDAGraph.
class GraphObject {
 public:
  GraphObject() : room_(std::make_unique<Room>()) { functions().construct(room_.get(), false); }

  ~GraphObject() {
    functions().destroy(room_.get());
    // Where recording has failed LibTorch's allocator still asks the object, for every allocation, if it is its own.
    if (begun_) static_cast<void>(room_.release());
  }

  GraphObject(const GraphObject&) = delete;
  GraphObject& operator=(const GraphObject&) = delete;

  void begin(const Pool& pool) {
    begun_ = true;
    functions().capture_begin(room_.get(), pool, kThreadLocal);
  }
  void end() {
    functions().capture_end(room_.get());
    begun_ = false;
  }
  void replay() { functions().replay(room_.get()); }

 private:
  std::unique_ptr<Room> room_;
  bool begun_ = false;
};

// LibTorch (2.10, for one) leaves a recording that has failed without telling the device's random numbers, which then
// can't be drawn but while one is recorded. A recording that succeeds tells them. `scrap`: a tensor of the device,
// since one of nothing is warned of.
void end_failed_recording(Tensor scrap) {
  try {
    GraphObject graph;
    graph.begin(functions().new_pool());
    torch::stable::zero_(scrap);
    graph.end();
  } catch (const std::exception&) {
    // What made the first recording fail is what the caller has to know.
  }
}

// One at a time: LibTorch's streams are few, and two passes may have been given the same one.
std::mutex& recording() {
  static std::mutex mutex;
  return mutex;
}

class CudaGraph final : public GraphCapture {
 public:
  CudaGraph(const Tensor& x, const GraphPool& pool)
      : device_(x.get_device_index()),
        pool_(pool),
        scrap_(torch::stable::new_empty(x, std::vector<int64_t>{1})),
        graph_(checked("making a graph", [] { return std::make_unique<GraphObject>(); })) {}

  void record(const Pass& pass) override {
    const std::lock_guard<std::mutex> alone(recording());
    // Not on the default stream, which can't be recorded. Nothing else runs on this one: there is nothing to wait for.
    const SideStreamGuard stream(pool_.stream, device_);
    const std::string reason = reason_not_recorded(pass);
    if (reason.empty()) return;
    results_.clear();
    end_failed_recording(scrap_);
    throw Error("cuda_graphs: a pass could not be recorded: " + reason + kTurnOff);
  }

  const std::vector<Tensor>& replay() override {
    checked("a replay", [&] { graph_->replay(); });
    return results_;
  }

 private:
  std::string reason_not_recorded(const Pass& pass) {
    try {
      graph_->begin({pool_.first, pool_.second});
    } catch (const std::exception& error) {
      return first_line(error);
    }
    std::string reason;
    try {
      results_ = pass();
    } catch (const std::exception& error) {
      reason = first_line(error);
    }
    // In either case: the stream would go on recording.
    try {
      graph_->end();
    } catch (const std::exception& error) {
      if (reason.empty()) reason = first_line(error);
    }
    return reason;
  }

  int32_t device_;
  GraphPool pool_;
  Tensor scrap_;
  std::unique_ptr<GraphObject> graph_;
  std::vector<Tensor> results_;
};

}  // namespace

void check_cuda_graphs() { functions(); }

GraphPool new_cuda_graph_pool(const Tensor& x) {
  const Pool memory = checked("making a pool", [] { return functions().new_pool(); });
  return {memory.first, memory.second, side_cuda_stream(x.get_device_index())};
}

std::unique_ptr<GraphCapture> new_cuda_graph(const Tensor& x, const GraphPool& pool) {
  return std::make_unique<CudaGraph>(x, pool);
}

}  // namespace resnet_nodes
