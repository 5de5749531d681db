// communicator_test.cpp: what becomes of a rank whose others do not come.
#include "fused_truth.h"
#include "ranks/thread_transport.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

using namespace truth;

// Rank 1 of two, the other of which never comes.
ResNetNodesTransport lonely() {
  ResNetNodesTransport transport = ThreadRanks(2).transport(1);
  transport.sum = [](void*, void*, int64_t, int32_t, void*) -> int64_t { return 0; };
  transport.wait = [](void*, int64_t, int64_t) -> int32_t { return 0; };
  return transport;
}

TEST(Communicator, WaitsNoLongerThanItsLimit) {
  Communicator ranks(lonely());
  const int64_t sum = ranks.start_sum(on_host(constant({2}, 1)));
  EXPECT_FALSE(ranks.wait(sum, 1));
  ranks.limit_waits(20);
  expect_error(
      [&] {
        while (!ranks.wait(sum, 1)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      },
      "rank 1 has waited 0 seconds for the others: one of them hangs, or its machine can't be reached");
}

TEST(Communicator, LimitsTheWaitsOfNormalizationsToo) {
  if (!on_cpu()) GTEST_SKIP() << "on the CPU alone";
  const Problem problem = make_problem({tiny_function(4)}, 1, {2, 4, 3, 3}, 102);
  Communicator ranks(lonely());
  ranks.limit_waits(20);
  const Stage stage(problem.functions, 1, StageOptions());
  stage.synchronize(&ranks);
  expect_error([&] { stage.evaluate(problem.x, problem.parameters, problem.buffers, problem.training); },
               "rank 1 has waited 0 seconds for the others");
}

}  // namespace
}  // namespace resnet_nodes
