// stand_in.cpp: what device/cuda_graph.cpp looks up in LibTorch's CUDA library, by the same names: functions that
// compute nothing, and note that they were called. cuda_graph_test.cpp loads it where no real one is.
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#define STAND_IN __attribute__((visibility("default")))

namespace {

std::string calls;
// Ends of recordings that fail, counted from now.
int failing_ends = 0;
// As CUDA's generator: whether random numbers are being recorded.
bool random_recorded = false;
std::uintptr_t streams = 0;
unsigned long long pools = 0;

void note(const std::string& call) { calls += call + "; "; }

}  // namespace

enum cudaStreamCaptureMode : int {};

namespace at::cuda {

using Pool = std::pair<unsigned long long, unsigned long long>;

struct STAND_IN CUDAGraph {
  explicit CUDAGraph(bool keep);
  ~CUDAGraph();
  void capture_begin(Pool pool, cudaStreamCaptureMode mode);
  void capture_end();
  void replay();

  char state[300] = {};
};

CUDAGraph::CUDAGraph(bool) { note("graph"); }
CUDAGraph::~CUDAGraph() { note("gone"); }
void CUDAGraph::capture_begin(Pool pool, cudaStreamCaptureMode) {
  note("begin in " + std::to_string(pool.second));
  random_recorded = true;
}
void CUDAGraph::capture_end() {
  note("end");
  // As in LibTorch 2.10: the failure comes before the generator is told.
  if (failing_ends > 0 && failing_ends-- > 0) throw std::runtime_error("operation not permitted\nframe #0");
  random_recorded = false;
}
void CUDAGraph::replay() { note("replay"); }

STAND_IN Pool graph_pool_handle();
Pool graph_pool_handle() { return {0, ++pools}; }

namespace detail {

// In LibTorch an at::Generator.
STAND_IN const int& getDefaultCUDAGenerator(signed char device);
const int& getDefaultCUDAGenerator(signed char device) {
  static const int generators[] = {-1, 0, 1};
  return generators[device + 1];
}

}  // namespace detail

}  // namespace at::cuda

extern "C" {

STAND_IN int32_t torch_get_cuda_stream_from_pool(bool, int32_t, void** stream) {
  *stream = reinterpret_cast<void*>(++streams);
  note("stream " + std::to_string(streams));
  return 0;
}

STAND_IN int32_t aoti_torch_create_cuda_stream_guard(void* stream, int32_t, void** guard) {
  note("on " + std::to_string(reinterpret_cast<std::uintptr_t>(stream)));
  *guard = stream;
  return 0;
}

STAND_IN int32_t aoti_torch_delete_cuda_stream_guard(void*) {
  note("off");
  return 0;
}

STAND_IN const char* stand_in_calls() { return calls.c_str(); }
STAND_IN void stand_in_forget() { calls.clear(), streams = 0, pools = 0; }
STAND_IN void stand_in_fail_ends(int count) { failing_ends = count; }
STAND_IN bool stand_in_random_recorded() { return random_recorded; }
}
