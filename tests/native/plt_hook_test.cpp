// plt_hook_test.cpp: calls of loaded libraries are redirected, whatever their slots are like, and nothing else is.
#include "host/plt_hook.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace resnet_nodes {
namespace {

constexpr const char* kSymbol = "gnu_get_libc_version";

const char* replacement() { return "replaced"; }
const char* another() { return "another tool's"; }
void* const kReplacement = reinterpret_cast<void*>(replacement);
void* const kAnother = reinterpret_cast<void*>(another);

// Never freed: a hook lasts as long as the process, and so does what it has redirected.
PltHook& new_hook(const char* library = nullptr) { return *new PltHook(kSymbol, kReplacement, library); }

// A copy of a test library that no other test has loaded.
class Library {
 public:
  explicit Library(const std::string& kind) {
    static int copies = 0;
    name_ = kind + std::to_string(getpid()) + "_" + std::to_string(++copies) + ".so";
    path_ = testing::TempDir() + name_;
    std::ofstream(path_, std::ios::binary)
        << std::ifstream(HOOKED_FOLDER "/lib" + kind + ".so", std::ios::binary).rdbuf();
    handle_ = dlopen(path_.c_str(), RTLD_LAZY);
    std::remove(path_.c_str());
    if (handle_ != nullptr) call_ = reinterpret_cast<const char* (*)()>(dlsym(handle_, "call_imported"));
    if (call_ == nullptr) ADD_FAILURE() << dlerror();
  }

  const std::string& name() const { return name_; }
  std::string call() const { return call_ != nullptr ? call_() : "not loaded"; }

  // The lines of the process's map that are this library's.
  std::vector<std::string> map() const {
    std::vector<std::string> lines;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      if (line.find(name_) != std::string::npos) lines.push_back(line);
    }
    return lines;
  }

  // Writes another address where this library's memory has a function's, as the loader or another tool would.
  int overwrite(const void* from, const void* to) const {
    int written = 0;
    for (const std::string& line : map()) {
      unsigned long begin = 0, end = 0;
      if (line.find(" rw") == std::string::npos || std::sscanf(line.c_str(), "%lx-%lx", &begin, &end) != 2) continue;
      for (auto* place = reinterpret_cast<const void**>(begin); place < reinterpret_cast<const void**>(end); ++place) {
        if (*place != from) continue;
        *place = to;
        ++written;
      }
    }
    return written;
  }

 private:
  std::string name_, path_;
  void* handle_;
  const char* (*call_)() = nullptr;
};

class Slots : public testing::TestWithParam<const char*> {};

TEST_P(Slots, AreRedirectedBeforeTheFirstCall) {
  const Library library(GetParam());
  PltHook& hook = new_hook();
  EXPECT_TRUE(hook.hold());
  EXPECT_EQ(library.call(), "replaced");
  EXPECT_EQ(hook.losses(), 0u);
}

TEST_P(Slots, AreRedirectedAfterTheFirstCall) {
  const Library library(GetParam());
  EXPECT_EQ(library.call(), gnu_get_libc_version());
  EXPECT_TRUE(new_hook().hold());
  EXPECT_EQ(library.call(), "replaced");
}

TEST_P(Slots, KeepTheProtectionOfTheirMemory) {
  const Library library(GetParam());
  const auto before = library.map();
  EXPECT_TRUE(new_hook().hold());
  EXPECT_EQ(library.map(), before);
  EXPECT_EQ(library.call(), "replaced");
}

TEST_P(Slots, OfLibrariesLoadedLaterAreRedirected) {
  const Library first("hooked_lazy");
  PltHook& hook = new_hook();
  EXPECT_TRUE(hook.hold());
  const Library later(GetParam());
  EXPECT_EQ(later.call(), gnu_get_libc_version());
  EXPECT_TRUE(hook.hold());
  EXPECT_EQ(later.call(), "replaced");
  EXPECT_EQ(hook.losses(), 0u);
}

INSTANTIATE_TEST_SUITE_P(PltHook, Slots, testing::Values("hooked_lazy", "hooked_now", "hooked_address"));

TEST(PltHook, LeavesTheFunctionAndOurOwnCallsAlone) {
  const Library library("hooked_lazy");
  PltHook& hook = new_hook();
  EXPECT_TRUE(hook.hold());
  EXPECT_STRNE(gnu_get_libc_version(), "replaced");
  EXPECT_STREQ(reinterpret_cast<const char* (*)()>(hook.original())(), gnu_get_libc_version());
}

TEST(PltHook, KeepsToTheLibraryThatItIsFor) {
  const Library one("hooked_lazy"), two("hooked_lazy");
  EXPECT_TRUE(new_hook(two.name().c_str()).hold());
  EXPECT_EQ(one.call(), gnu_get_libc_version());
  EXPECT_EQ(two.call(), "replaced");
}

// A thread that was about to make its first call has the loader write the original's address over ours.
TEST(PltHook, NoticesThatTheLoaderUndidIt) {
  const Library library("hooked_lazy");
  PltHook& hook = new_hook(library.name().c_str());
  EXPECT_TRUE(hook.hold());
  EXPECT_EQ(library.overwrite(kReplacement, hook.original()), 1);
  EXPECT_EQ(library.call(), gnu_get_libc_version());
  EXPECT_TRUE(hook.hold());
  EXPECT_EQ(hook.losses(), 1u);
  EXPECT_EQ(library.call(), "replaced");
}

TEST(PltHook, LeavesAnothersHookAloneAndSaysSo) {
  const Library library("hooked_lazy");
  PltHook& hook = new_hook(library.name().c_str());
  EXPECT_TRUE(hook.hold());
  EXPECT_EQ(library.overwrite(kReplacement, kAnother), 1);
  EXPECT_FALSE(hook.hold());
  EXPECT_EQ(library.call(), "another tool's");
  EXPECT_FALSE(new_hook(library.name().c_str()).hold());
  EXPECT_EQ(library.call(), "another tool's");
  // For the tests to come.
  EXPECT_EQ(library.overwrite(kAnother, kReplacement), 1);
  EXPECT_TRUE(hook.hold());
}

TEST(PltHook, SaysWhereThereIsNothingToRedirect) {
  EXPECT_FALSE(new_hook("libnone.so").hold());
  PltHook unknown("resnet_nodes_no_such_function", kReplacement);
  EXPECT_EQ(unknown.original(), nullptr);
  EXPECT_FALSE(unknown.hold());
}

TEST(PltHook, IsHeldByManyThreadsWhileLibrariesAreLoaded) {
  const Library library("hooked_now");
  PltHook& hook = new_hook();
  ASSERT_TRUE(hook.hold());
  std::atomic<int> failures = 0;
  std::atomic<bool> done = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!done) failures += !hook.hold() || library.call() != "replaced";
    });
  }
  for (int i = 0; i < 10; ++i) {
    const Library other("hooked_lazy");
    failures += !hook.hold() || other.call() != "replaced";
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
}

}  // namespace
}  // namespace resnet_nodes
