// cuda_graph_test.cpp: what is asked of LibTorch's CUDAGraph, and in which order. LibTorch's CUDA library is stood in
// for, so that this runs without a GPU; with one, graphed_pass_test.cpp has real graphs.
#include "device/cuda_graph.h"

#include <dlfcn.h>

#include "resnet_nodes/error.h"
#include "resnet_nodes/host.h"
#include "truth.h"

namespace resnet_nodes {
namespace {

using namespace truth;

class CudaGraphs : public testing::Test {
 protected:
  void SetUp() override {
    if (dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD) != nullptr) GTEST_SKIP() << "the real library is loaded";
    static void* const library = dlopen(STAND_IN_FOLDER "/libcuda_stand_in.so", RTLD_NOW | RTLD_GLOBAL);
    ASSERT_NE(library, nullptr) << dlerror();
    forget();
  }

  template <typename Result, typename... Arguments>
  static Result call(const char* name, Arguments... arguments) {
    return reinterpret_cast<Result (*)(Arguments...)>(dlsym(RTLD_DEFAULT, name))(arguments...);
  }
  static void forget() { call<void>("stand_in_forget"); }
  static std::string calls() { return call<const char*>("stand_in_calls"); }
  static void fail_ends(int count) { call<void>("stand_in_fail_ends", count); }
  static bool random_recorded() { return call<bool>("stand_in_random_recorded"); }

  const Tensor x_ = constant({2, 3}, 1);
};

TEST_F(CudaGraphs, OfAPassAreRecordedInItsMemoryAndOnItsStream) {
  const GraphPool pool = new_cuda_graph_pool(x_), another = new_cuda_graph_pool(x_);
  const auto there = new_cuda_graph(x_, pool), back = new_cuda_graph(x_, pool), third = new_cuda_graph(x_, another);
  forget();
  for (const auto* graph : {&there, &back, &third}) (*graph)->record([&] { return std::vector<Tensor>{x_}; });
  EXPECT_EQ(calls(), "on 1; begin in 1; end; off; on 1; begin in 1; end; off; on 2; begin in 2; end; off; ");
  forget();
  EXPECT_TRUE(there->replay()[0].defined());
  EXPECT_EQ(calls(), "replay; ") << "on the current stream";
}

TEST_F(CudaGraphs, ThatFailToEndLeaveRandomNumbersToBeDrawn) {
  const GraphPool pool = new_cuda_graph_pool(x_);
  const auto graph = new_cuda_graph(x_, pool);
  forget();
  fail_ends(1);
  try {
    graph->record([&] { return std::vector<Tensor>{x_}; });
    ADD_FAILURE() << "recorded";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "cuda_graphs: a pass could not be recorded: operation not permitted; turn cuda_graphs off");
  }
  EXPECT_FALSE(random_recorded());
  // A recording of its own, in memory of its own.
  EXPECT_EQ(calls(), "on 1; begin in 1; end; graph; begin in 1; end; gone; off; ");
}

TEST_F(CudaGraphs, EndWhereAPassThrows) {
  const GraphPool pool = new_cuda_graph_pool(x_);
  const auto graph = new_cuda_graph(x_, pool);
  forget();
  try {
    graph->record([]() -> std::vector<Tensor> { throw Error("it waits\nframe #0"); });
    ADD_FAILURE() << "recorded";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "cuda_graphs: a pass could not be recorded: it waits; turn cuda_graphs off");
  }
  EXPECT_EQ(calls().substr(0, 21), "on 1; begin in 1; end");
  EXPECT_FALSE(random_recorded());
}

// Where that recording fails as well, the reason is still the first one's.
TEST_F(CudaGraphs, TellTheFirstReason) {
  const auto graph = new_cuda_graph(x_, new_cuda_graph_pool(x_));
  fail_ends(2);
  try {
    graph->record([]() -> std::vector<Tensor> { throw Error("it waits"); });
    ADD_FAILURE() << "recorded";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "cuda_graphs: a pass could not be recorded: it waits; turn cuda_graphs off");
  }
  fail_ends(0);
}

TEST_F(CudaGraphs, AndRandomNumbersAreThoseOfTheDevice) {
  for (const int device : {-1, 0, 1}) EXPECT_EQ(*static_cast<const int*>(cuda_generator(device)), device);
}

}  // namespace
}  // namespace resnet_nodes
