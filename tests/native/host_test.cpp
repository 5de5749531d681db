// host_test.cpp: random numbers of a thread's own; errors and backward passes need TorchSharp, tests/managed has them.
#include "resnet_nodes/host.h"

#include <dlfcn.h>

#include <thread>

#include "tensors/dispatcher.h"
#include "truth.h"

namespace resnet_nodes {
namespace {

// An at::Generator, whose class is not in the stable ABI: a pointer that is returned as a class with a destructor is.
struct Generator {
  void* state;
  ~Generator() {}
};

// Never freed: a few of 5 kB.
void* new_generator(uint64_t seed) {
  static const auto make =
      reinterpret_cast<Generator (*)(uint64_t)>(dlsym(RTLD_DEFAULT, "_ZN2at6detail18createCPUGeneratorEm"));
  return new Generator(make(seed));
}

constexpr int64_t kCount = 1000;

// Random numbers in the order in which LibTorch draws them.
std::vector<float> draw() {
  const Tensor halves = torch::stable::full({kCount}, 0.5, torch::headeronly::ScalarType::Float);
  const Tensor drawn = call_operator<1>("aten::bernoulli", "", halves, std::optional<Tensor>())[0];
  const auto* data = static_cast<const float*>(drawn.const_data_ptr());
  return {data, data + kCount};
}

struct Host : testing::Test {
  ~Host() override { redirect_random_numbers(nullptr); }
};

TEST_F(Host, RandomNumbersComeFromTheThreadsGenerator) {
  ASSERT_TRUE(redirect_random_numbers(new_generator(1)));
  const auto first = draw(), second = draw();
  EXPECT_NE(first, second);
  EXPECT_TRUE(redirect_random_numbers(new_generator(2)));
  EXPECT_NE(draw(), first);
  EXPECT_TRUE(redirect_random_numbers(new_generator(1)));
  EXPECT_EQ(draw(), first);
  EXPECT_EQ(draw(), second);
  EXPECT_TRUE(redirect_random_numbers(nullptr));
  EXPECT_NE(draw(), first);
}

TEST_F(Host, TheProcessesGeneratorIsNotTouched) {
  // The process's numbers, made known by a generator that another thread draws from without a break.
  void* const shared = new_generator(3);
  ASSERT_TRUE(redirect_random_numbers(new_generator(3)));
  const auto first = draw(), second = draw();
  ASSERT_TRUE(redirect_random_numbers(shared));
  EXPECT_EQ(draw(), first);
  std::thread([] {
    EXPECT_TRUE(redirect_random_numbers(new_generator(4)));
    draw();
    EXPECT_TRUE(redirect_random_numbers(nullptr));
    draw();
  }).join();
  EXPECT_EQ(draw(), second);
}

TEST_F(Host, ThreadsReplayTheirOwnNumbers) {
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([thread] {
      for (uint64_t i = 0; i < 100; ++i) {
        EXPECT_TRUE(redirect_random_numbers(new_generator(1000 * thread + i)));
        const auto first = draw();
        EXPECT_TRUE(redirect_random_numbers(new_generator(1000 * thread + i)));
        EXPECT_EQ(draw(), first);
        EXPECT_TRUE(redirect_random_numbers(nullptr));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(Host, SaysWhereThereIsNoTorchSharp) { EXPECT_FALSE(leave_torchsharp_error("a text")); }

TEST_F(Host, OutsideOfABackwardPassAllIsAccumulated) { EXPECT_TRUE(backward_accumulates()); }

}  // namespace
}  // namespace resnet_nodes
