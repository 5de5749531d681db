// nccl_test.cpp: operations on memory of GPUs, with NCCL and CUDA stood in for by threads on the host's memory. It says
// nothing about the real ones.
#include "ranks/nccl.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "ranks/thread_transport.h"
#include "resnet_nodes/communicator.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

using truth::ThreadRanks;

constexpr const char* kStandIn = STAND_IN_FOLDER "/libnccl_stand_in.so";
constexpr const char* kMissing = "libno_such_nccl.so.2";
constexpr const char* kAgain = "; end all ranks and start them again";
constexpr int64_t kLong = 60000;

std::string error_of(const std::function<void()>& work) {
  try {
    work();
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

class NcclRanks : public testing::Test {
 protected:
  // A rank's GPU has its own number, and a stream that writes and reads the data.
  struct Rank {
    Rank(const ResNetNodesTransport& ranks, int32_t gpu, const std::string& library)
        : transport(ranks), device(gpu), nccl(library, transport) {
      call<int>("cudaSetDevice", device);
      call<int>("cudaStreamCreateWithFlags", &stream, 0U);
    }
    ~Rank() { call<int>("cudaStreamDestroy", stream); }

    template <class T>
    int64_t sum(std::vector<T>& target, NcclType type) {
      return nccl.sum(target.data(), static_cast<int64_t>(target.size()), type, device, stream);
    }
    int64_t sum(std::vector<float>& target) { return sum(target, NcclType::float32); }
    int64_t sum() { return sum(data); }

    ResNetNodesTransport transport;
    int32_t device;
    void* stream = nullptr;
    // An operation that has failed may still write it.
    std::vector<float> data = std::vector<float>(10, 1);
    Nccl nccl;
  };

  void SetUp() override {
    if (dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD) != nullptr) GTEST_SKIP() << "the real library is loaded";
    library = dlopen(kStandIn, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library, nullptr) << dlerror();
    call<void>("stand_in_forget");
  }

  template <typename Result, typename... Arguments>
  static Result call(const char* name, Arguments... arguments) {
    return reinterpret_cast<Result (*)(Arguments...)>(dlsym(library, name))(arguments...);
  }
  static void fail(const char* name, int code) { call<void>("stand_in_fail", name, code); }
  static int calls(const char* name) { return call<int>("stand_in_calls", name); }

  // Each rank's error.
  static std::vector<std::string> run(int32_t size, const std::function<void(int32_t rank, ThreadRanks& ranks)>& body) {
    ThreadRanks ranks(size);
    std::vector<std::string> errors(static_cast<size_t>(size));
    std::vector<std::thread> threads;
    for (int32_t rank = 0; rank < size; ++rank) {
      threads.emplace_back([&, rank] { errors[static_cast<size_t>(rank)] = error_of([&] { body(rank, ranks); }); });
    }
    for (std::thread& thread : threads) thread.join();
    return errors;
  }
  static void run_all(int32_t size, const std::function<void(Rank& rank)>& body) {
    const auto errors = run(size, [&](int32_t number, ThreadRanks& ranks) {
      Rank rank(ranks.transport(number), number, kStandIn);
      body(rank);
    });
    for (const std::string& error : errors) EXPECT_EQ(error, "");
  }
  // What one rank alone is refused.
  static std::string alone(const std::function<void(Rank& rank)>& body) {
    return run(1, [&](int32_t, ThreadRanks& ranks) {
      Rank rank(ranks.transport(0), 0, kStandIn);
      body(rank);
    })[0];
  }

  static void* library;
};

void* NcclRanks::library = nullptr;

// Small whole numbers: sums of any order are exact in every type.
int value(int32_t rank, size_t i) { return static_cast<int>((i * 7 + static_cast<size_t>(rank) * 5) % 11) - 5; }

template <class T>
std::vector<T> values(int32_t rank, size_t count) {
  std::vector<T> values;
  for (size_t i = 0; i < count; ++i) values.push_back(static_cast<T>(static_cast<float>(value(rank, i))));
  return values;
}

template <class T>
std::vector<T> sums(int32_t ranks, size_t count) {
  std::vector<T> sums;
  for (size_t i = 0; i < count; ++i) {
    int sum = 0;
    for (int32_t rank = 0; rank < ranks; ++rank) sum += value(rank, i);
    sums.push_back(static_cast<T>(static_cast<float>(sum)));
  }
  return sums;
}

TEST_F(NcclRanks, GetSumsAndBroadcastsOfEveryType) {
  std::mt19937 random(7);
  for (const int32_t size : {1, 2, 4}) {
    const size_t count = random() % 10000 + 1;
    const auto root = static_cast<int32_t>(random() % static_cast<unsigned>(size));
    run_all(size, [&](Rank& rank) {
      const auto check = [&](auto zero, NcclType type) {
        using T = decltype(zero);
        auto data = values<T>(rank.device, count), given = data;
        const int64_t sum = rank.sum(data, type);
        const auto bytes = static_cast<int64_t>(count * sizeof(T));
        const int64_t broadcast = rank.nccl.broadcast(given.data(), bytes, root, rank.device, rank.stream);
        EXPECT_TRUE(rank.nccl.wait(sum, kLong));
        EXPECT_TRUE(rank.nccl.wait(broadcast, kLong));
        EXPECT_TRUE(data == sums<T>(size, count)) << size << " ranks, type " << static_cast<int>(type);
        EXPECT_TRUE(given == values<T>(root, count)) << size << " ranks, type " << static_cast<int>(type);
      };
      check(float{}, NcclType::float32);
      check(double{}, NcclType::float64);
      check(int64_t{}, NcclType::int64);
      check(c10::Half{}, NcclType::float16);
      check(c10::BFloat16{}, NcclType::bfloat16);
    });
  }
  EXPECT_EQ(calls("ncclGetUniqueId"), 3) << "one for all ranks";
  EXPECT_EQ(calls("ncclCommInitRank"), 7) << "one communicator for each rank";
  EXPECT_EQ(calls("ncclCommDestroy"), 7);
  EXPECT_EQ(calls("ncclCommAbort"), 0);
  EXPECT_EQ(calls("cudaStreamDestroy"), 14);
  EXPECT_EQ(calls("cudaEventDestroy"), calls("cudaEventCreateWithFlags"));
}

TEST_F(NcclRanks, ReadWhatTheirStreamWritesBefore) {
  run_all(2, [](Rank& rank) {
    rank.data.assign(1000, 0);
    void (*const write)(void*) = [](void* target) {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      std::fill_n(static_cast<float*>(target), 1000, 1.0F);
    };
    call<void>("stand_in_give", rank.stream, write, static_cast<void*>(rank.data.data()));
    EXPECT_TRUE(rank.nccl.wait(rank.sum(), kLong));
    EXPECT_TRUE(rank.data == std::vector<float>(1000, 2));
  });
}

TEST_F(NcclRanks, WaitInAnyOrderAndOnce) {
  run_all(2, [](Rank& rank) {
    std::vector<float> first(10, 1), second(20, 2), third(30, 3);
    const int64_t one = rank.sum(first), two = rank.sum(second), three = rank.sum(third);
    EXPECT_LT(one, 0);
    for (const int64_t operation : {three, one, two}) EXPECT_TRUE(rank.nccl.wait(operation, kLong));
    EXPECT_TRUE(first == std::vector<float>(10, 2));
    EXPECT_TRUE(second == std::vector<float>(20, 4));
    EXPECT_TRUE(third == std::vector<float>(30, 6));
    EXPECT_EQ(error_of([&] { rank.nccl.wait(two, 0); }), "wait: there is no operation -2, or it was waited for");
  });
}

TEST_F(NcclRanks, WaitForALateOneSoLongAtMost) {
  std::atomic<bool> seen{false};
  run_all(2, [&](Rank& rank) {
    std::vector<float> late(10, 1);
    EXPECT_TRUE(rank.nccl.wait(rank.sum(), kLong));
    while (rank.device == 1 && !seen) std::this_thread::yield();
    const int64_t operation = rank.sum(late);
    if (rank.device == 0) {
      EXPECT_FALSE(rank.nccl.wait(operation, 0));
      EXPECT_FALSE(rank.nccl.wait(operation, 20));
      EXPECT_EQ(call<int>("cudaGetLastError"), 0) << "LibTorch would take it for its own";
      seen = true;
    }
    EXPECT_TRUE(rank.nccl.wait(operation, kLong));
    EXPECT_TRUE(late == std::vector<float>(10, 2));
  });
}

// A rank is gone: NCCL says so while the operation goes on for ever.
TEST_F(NcclRanks, FailWhereNcclTellsOfAnError) {
  const std::string failed = std::string("NCCL: an operation failed: remote error") + kAgain;
  run_all(2, [&](Rank& rank) {
    EXPECT_TRUE(rank.nccl.wait(rank.sum(), kLong));
    if (rank.device == 1) return;
    const int64_t first = rank.sum(), second = rank.sum();
    EXPECT_FALSE(rank.nccl.wait(first, 10));
    fail("ncclCommGetAsyncError", 6);
    EXPECT_EQ(error_of([&] { rank.nccl.wait(first, kLong); }), failed);
    EXPECT_EQ(error_of([&] { rank.nccl.wait(second, kLong); }), failed);
    EXPECT_EQ(error_of([&] { rank.sum(); }), failed);
    EXPECT_EQ(calls("ncclCommAbort"), 1);
  });
}

// It may have ended because of the error.
TEST_F(NcclRanks, FailWhereAnOperationHasEndedByAnError) {
  EXPECT_EQ(alone([&](Rank& rank) {
              const int64_t operation = rank.sum();
              fail("ncclCommGetAsyncError", 6);
              rank.nccl.wait(operation, kLong);
            }),
            std::string("NCCL: an operation failed: remote error") + kAgain);
}

TEST_F(NcclRanks, FailByNameWhereACallDoes) {
  const std::vector<std::array<std::string, 2>> failing = {
      {"ncclGetUniqueId", "an id for the ranks failed: invalid usage"},
      {"ncclCommInitRank", "joining the ranks failed: invalid usage"},
      {"ncclAllReduce", "a sum failed: invalid usage"},
      {"ncclBroadcast", "a broadcast failed: invalid usage"},
      {"cudaStreamWaitEvent", "waiting for a stream failed: CUDA: an illegal memory access was encountered"},
      {"cudaEventCreateWithFlags", "making an event failed: CUDA: an illegal memory access was encountered"},
      {"cudaEventRecord", "recording an event failed: CUDA: an illegal memory access was encountered"},
      {"cudaEventQuery", "an operation failed: CUDA: an illegal memory access was encountered"},
      {"cudaStreamCreateWithFlags", "making a stream failed: CUDA: an illegal memory access was encountered"}};
  for (const auto& [name, text] : failing) {
    std::string again;
    const std::string error = alone([&](Rank& rank) {
      const auto work = [&] {
        const int64_t sum = rank.sum();
        const int64_t broadcast = rank.nccl.broadcast(rank.data.data(), 40, 0, 0, rank.stream);
        rank.nccl.wait(sum, kLong);
        rank.nccl.wait(broadcast, kLong);
      };
      fail(name.c_str(), 5);
      const std::string first = error_of(work);
      EXPECT_EQ(call<int>("cudaGetLastError"), 0) << name;
      fail(name.c_str(), 0);
      again = error_of(work);
      throw Error(first);
    });
    EXPECT_EQ(error, "NCCL: " + text + kAgain);
    EXPECT_EQ(again, error) << "other ranks have given up too";
  }
}

TEST_F(NcclRanks, PassOnWhyTwoCannotShareAGpu) {
  const auto errors = run(2, [](int32_t number, ThreadRanks& ranks) {
    Rank rank(ranks.transport(number), 0, kStandIn);
    rank.sum();
  });
  for (const std::string& error : errors) {
    EXPECT_EQ(error, std::string("NCCL: joining the ranks failed: invalid usage: Duplicate GPU detected : rank 0 and "
                                 "rank 1 both on CUDA device 4000") +
                         kAgain);
  }
}

TEST_F(NcclRanks, AllFailWhereOneHasNoNccl) {
  const auto errors = run(2, [](int32_t number, ThreadRanks& ranks) {
    Rank rank(ranks.transport(number), number, number == 1 ? kMissing : kStandIn);
    rank.sum();
  });
  EXPECT_EQ(errors[0], std::string("NCCL: 1 of 2 ranks can't use it; their own errors say why"));
  EXPECT_EQ(errors[1],
            "NCCL: libno_such_nccl.so.2 can't be loaded (libno_such_nccl.so.2: cannot open shared object file: No such "
            "file or directory); GPUs of several processes need NCCL 2.13 or later: install libnccl2 of NVIDIA's "
            "packages");
  EXPECT_EQ(calls("ncclCommInitRank"), 0) << "it would wait for ever";
}

TEST_F(NcclRanks, FailWhereTheTransportDoes) {
  const auto errors = run(1, [](int32_t, ThreadRanks& ranks) {
    ranks.fail("the network is down");
    Rank rank(ranks.transport(0), 0, kStandIn);
    rank.sum();
  });
  EXPECT_EQ(errors[0], "ranks: the network is down");
}

TEST_F(NcclRanks, HaveOneGpuEach) {
  run_all(2, [](Rank& rank) {
    EXPECT_TRUE(rank.nccl.wait(rank.sum(), kLong));
    const auto on_another = [&] { rank.nccl.sum(rank.data.data(), 10, NcclType::float32, 5, rank.stream); };
    EXPECT_EQ(error_of(on_another), "ranks: the tensor is on cuda:5, the first one was on cuda:" +
                                        std::to_string(rank.device) + "; a rank has one GPU");
    EXPECT_TRUE(rank.nccl.wait(rank.sum(), kLong));
    EXPECT_TRUE(rank.data == std::vector<float>(10, 4));
  });
}

TEST_F(NcclRanks, EndWhatIsUnderWayWhereTheyAbort) {
  run_all(2, [](Rank& rank) {
    EXPECT_TRUE(rank.nccl.wait(rank.sum(), kLong));
    if (rank.device == 1) return;
    const int64_t operation = rank.sum();
    rank.nccl.abort();
    EXPECT_EQ(calls("ncclCommAbort"), 1);
    EXPECT_EQ(error_of([&] { rank.nccl.wait(operation, kLong); }), "ranks: they were aborted");
  });
}

// A rank that is lost before NCCL joins it: the others hang in NCCL, and can still be ended.
TEST_F(NcclRanks, DoNotHangInWaitsAndAbortsWithAStart) {
  std::atomic<bool> may_come{false};
  const auto errors = run(2, [&](int32_t number, ThreadRanks& ranks) {
    if (number == 0) {
      Rank rank(ranks.transport(0), 0, kStandIn);
      std::thread starting([&] { EXPECT_EQ(error_of([&] { rank.sum(); }), ""); });
      while (calls("ncclCommInitRank") == 0) std::this_thread::yield();
      EXPECT_FALSE(rank.nccl.wait(-1, 10));
      rank.nccl.abort();
      EXPECT_EQ(calls("ncclCommAbort"), 0);
      may_come = true;
      starting.join();
      rank.nccl.abort();
      return;
    }
    const ResNetNodesTransport transport = ranks.transport(1);
    int64_t failed = 0;
    NcclId id = {};
    transport.sum(transport.state, &failed, 1, kResNetNodesInt64, nullptr);
    transport.broadcast(transport.state, &id, sizeof(id), 0, nullptr);
    while (!may_come) std::this_thread::yield();
    void* comm = nullptr;
    call<int>("cudaSetDevice", 1);
    EXPECT_EQ(call<int>("ncclCommInitRank", &comm, 2, id, 1), 0);
    EXPECT_EQ(call<int>("ncclCommDestroy", comm), 0);
  });
  for (const std::string& error : errors) EXPECT_EQ(error, "");
}

TEST_F(NcclRanks, NeedEveryFunction) {
  EXPECT_EQ(error_of([] { find_nccl(STAND_IN_FOLDER "/libcuda_stand_in.so"); }),
            "NCCL: no loaded library has ncclGetUniqueId; NCCL 2.13 or later is needed");
}

TEST(Communicators, TakeTensorsOfTheCpuOrOfCuda) {
  ThreadRanks ranks(1);
  Communicator communicator(ranks.transport(0));
  const Tensor nowhere = torch::stable::empty(std::vector<int64_t>{2}, torch::headeronly::ScalarType::Float,
                                              std::nullopt, torch::stable::Device(torch::headeronly::DeviceType::Meta));
  const std::string error = error_of([&] { communicator.start_sum(nowhere); });
  EXPECT_NE(error.find(", expected a contiguous one of the CPU or of CUDA"), std::string::npos) << error;
  EXPECT_EQ(error_of([&] { communicator.wait(-1, 0); }), "wait: there is no operation -1, or it was waited for");
}

}  // namespace
}  // namespace resnet_nodes
