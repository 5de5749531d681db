// kernel_path_test.cpp: which paths there are, and which of them a process uses.
#include "kernels/paths/kernel_path.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tensors/active_kernels.h"

namespace resnet_nodes {
namespace {

bool names(const std::vector<const KernelPath*>& paths, const char* name) {
  return std::any_of(paths.begin(), paths.end(), [&](auto* path) { return std::strcmp(path->name, name) == 0; });
}

// What CTest takes for a skipped test; GoogleTest would count the tests of a skipped environment as passed.
constexpr int kSkipped = 77;

// RESNET_NODES_KERNELS may name a path that only other machines can run: then there is nothing to test here. Any other
// name that cannot run is an error.
class WantedPath : public testing::Environment {
  void SetUp() override {
    const char* wanted = std::getenv("RESNET_NODES_KERNELS");
    if (wanted == nullptr || *wanted == '\0' || names(runnable_kernel_paths(), wanted)) return;
    if (names(compiled_kernel_paths(), wanted)) {
      std::cerr << "this machine cannot run the kernel path " << wanted << '\n';
      std::exit(kSkipped);
    }
    active_kernels();
  }
};
[[maybe_unused]] const testing::Environment* const wanted_path = testing::AddGlobalTestEnvironment(new WantedPath);

// A path that no list names would be compiled and never run.
TEST(KernelPath, TheListHoldsEveryFile) {
  std::istringstream files(RESNET_NODES_KERNEL_PATHS);
  std::set<std::string> expected, found;
  for (std::string name; std::getline(files, name, ',');) expected.insert(name);
  for (const KernelPath* path : compiled_kernel_paths()) found.insert(path->name);
  EXPECT_EQ(found, expected);
}

// In processes of their own, since a process chooses its path once.
[[noreturn]] void exit_with_choice(const char* wanted, const char* expected) {
  setenv("RESNET_NODES_KERNELS", wanted, 1);
  const KernelPath* path = chosen_kernel_path();
  const bool right = expected == nullptr ? path == nullptr : path != nullptr && std::strcmp(path->name, expected) == 0;
  std::_Exit(right ? 0 : 1);
}

TEST(KernelPath, TheEnvironmentForcesAPath) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const KernelPath* path : runnable_kernel_paths()) {
    EXPECT_EXIT(exit_with_choice(path->name, path->name), testing::ExitedWithCode(0), "") << path->name;
  }
  EXPECT_EXIT(exit_with_choice("", runnable_kernel_paths().front()->name), testing::ExitedWithCode(0), "")
      << "empty: the best";
  EXPECT_EXIT(exit_with_choice("abacus", nullptr), testing::ExitedWithCode(0), "") << "an unknown name";
}

}  // namespace
}  // namespace resnet_nodes
