// plt_hook.h: puts a function of ours in the place of one that other libraries import.
//
// A library calls a function of another library through a slot: a pointer in its own memory, which the dynamic loader
// fills in (lazily: at the first call). A hook writes another address into the slots of one function. Nothing else
// changes: no code is patched, and whoever has the function's address still calls the function itself.
#pragma once

#include <link.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace resnet_nodes {

/// Safe from any thread. A hook lasts as long as the process: it must never be destroyed once it was held.
class PltHook {
 public:
  /// symbol: the function's name as it is exported (of C++, mangled). replacement: a function of the same signature.
  /// library: the file name of the only library whose calls are redirected; null: of all but the replacement's own.
  PltHook(const char* symbol, void* replacement, const char* library = nullptr);

  /// The function that is replaced; null where no loaded library has it.
  void* original() const { return original_; }

  /// Redirects the calls of every loaded library, of those loaded since the last call too. Cheap where all is in place.
  /// false where some call is not redirected: nobody imports the function, a slot can't be written, or another tool has
  /// put its own address there.
  bool hold();

  /// How often hold found that the original's address had been written over ours: by the loader for a thread that was
  /// about to make its first call when hold came. Where two values are equal, no call between them went elsewhere.
  uint64_t losses() const;

 private:
  // A library that imports the function, as the loader lists it.
  struct Importer {
    std::string path;
    ElfW(Addr) base;
    // Its memory that is read-only once the loader is done with it.
    uintptr_t read_only_begin, read_only_end;
    std::vector<void**> slots;
  };
  struct Search {
    const PltHook& hook;
    std::vector<Importer> found;
  };
  struct Slot {
    void** place;
    bool read_only;
    bool ours;
  };

  static int note(dl_phdr_info* info, size_t size, void* search);
  void find();
  bool take(const Importer& importer);
  bool hold(Slot& slot);

  const char* symbol_;
  void* replacement_;
  const char* library_;
  void* original_;
  const link_map* own_;
  mutable std::mutex mutex_;
  std::vector<Slot> slots_;
  std::vector<ElfW(Addr)> importers_;
  bool complete_ = false;
  unsigned long long loads_ = 0;
  uint64_t losses_ = 0;
};

}  // namespace resnet_nodes
