#include "host/plt_hook.h"

#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <string_view>

namespace resnet_nodes {
namespace {

// The two kinds of entries that make the loader write a function's address into a slot: of calls through the procedure
// linkage table, and of calls that read the slot themselves.
#if defined(__x86_64__)
constexpr auto kJumpSlot = R_X86_64_JUMP_SLOT, kAddress = R_X86_64_GLOB_DAT;
#elif defined(__aarch64__)
constexpr auto kJumpSlot = R_AARCH64_JUMP_SLOT, kAddress = R_AARCH64_GLOB_DAT;
#else
#error "host/plt_hook.cpp: the relocations of this processor are unknown"
#endif

uintptr_t page_begin(uintptr_t address) { return address & ~(static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)) - 1); }

// The library that holds an address; null where none does.
link_map* library_of(const void* address) {
  Dl_info info;
  link_map* map = nullptr;
  const bool found = dladdr1(address, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) != 0;
  return found ? map : nullptr;
}

// Counts the libraries that were ever loaded.
int count_loads(dl_phdr_info* info, size_t, void* loads) {
  *static_cast<unsigned long long*>(loads) = info->dlpi_adds;
  return 1;
}

// The loader has made these entries absolute, unless it could not write to them.
template <typename T>
const T* absolute(ElfW(Addr) base, ElfW(Addr) address) {
  return reinterpret_cast<const T*>(address < base ? base + address : address);
}

struct Relocations {
  const ElfW(Rela) * first = nullptr;
  size_t bytes = 0;
};

std::vector<void**> slots_of(ElfW(Addr) base, const ElfW(Dyn) * entry, const char* symbol) {
  Relocations calls, others;
  const ElfW(Sym)* symbols = nullptr;
  const char* names = nullptr;
  for (; entry->d_tag != DT_NULL; ++entry) {
    switch (entry->d_tag) {
      case DT_JMPREL:
        calls.first = absolute<ElfW(Rela)>(base, entry->d_un.d_ptr);
        break;
      case DT_PLTRELSZ:
        calls.bytes = entry->d_un.d_val;
        break;
      case DT_RELA:
        others.first = absolute<ElfW(Rela)>(base, entry->d_un.d_ptr);
        break;
      case DT_RELASZ:
        others.bytes = entry->d_un.d_val;
        break;
      case DT_SYMTAB:
        symbols = absolute<ElfW(Sym)>(base, entry->d_un.d_ptr);
        break;
      case DT_STRTAB:
        names = absolute<char>(base, entry->d_un.d_ptr);
        break;
      default:
        break;
    }
  }
  std::vector<void**> slots;
  for (const Relocations& table : {calls, others}) {
    for (size_t i = 0; i < table.bytes / sizeof(ElfW(Rela)); ++i) {
      const auto& relocation = table.first[i];
      const auto type = ELF64_R_TYPE(relocation.r_info);
      if (type != kJumpSlot && type != kAddress) continue;
      if (std::strcmp(names + symbols[ELF64_R_SYM(relocation.r_info)].st_name, symbol) != 0) continue;
      slots.push_back(reinterpret_cast<void**>(base + relocation.r_offset));
    }
  }
  return slots;
}

bool write(void** place, bool read_only, void* value) {
  // A slot is aligned, and so on one page; a length of one byte stands for the page.
  void* const page = reinterpret_cast<void*>(page_begin(reinterpret_cast<uintptr_t>(place)));
  if (read_only && mprotect(page, 1, PROT_READ | PROT_WRITE) != 0) return false;
  // Other threads call through the slot meanwhile: they see the one address or the other.
  std::atomic_ref<void*>(*place).store(value);
  return !read_only || mprotect(page, 1, PROT_READ) == 0;
}

}  // namespace

PltHook::PltHook(const char* symbol, void* replacement, const char* library)
    : symbol_(symbol),
      replacement_(replacement),
      library_(library),
      original_(dlsym(RTLD_DEFAULT, symbol)),
      own_(library_of(replacement)) {}

uint64_t PltHook::losses() const {
  const std::lock_guard lock(mutex_);
  return losses_;
}

bool PltHook::hold() {
  if (original_ == nullptr) return false;
  const std::lock_guard lock(mutex_);
  unsigned long long loads = 0;
  dl_iterate_phdr(count_loads, &loads);
  if (loads != loads_ || !complete_) {
    // Before the search: it sees at least these libraries.
    loads_ = loads;
    find();
  }
  bool held = complete_ && !slots_.empty();
  for (Slot& slot : slots_) held = hold(slot) && held;
  return held;
}

int PltHook::note(dl_phdr_info* info, size_t, void* search) {
  auto& [hook, found] = *static_cast<Search*>(search);
  Importer importer{info->dlpi_name, info->dlpi_addr, 0, 0, {}};
  if (hook.own_ == nullptr || hook.own_->l_addr == importer.base) return 0;
  if (hook.library_ != nullptr) {
    const std::string_view path = importer.path;
    if (path.substr(path.rfind('/') + 1) != hook.library_) return 0;
  }
  const auto& known = hook.importers_;
  if (std::find(known.begin(), known.end(), importer.base) != known.end()) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& part = info->dlpi_phdr[i];
    const ElfW(Addr) begin = info->dlpi_addr + part.p_vaddr;
    if (part.p_type == PT_DYNAMIC) {
      importer.slots = slots_of(importer.base, reinterpret_cast<const ElfW(Dyn)*>(begin), hook.symbol_);
    } else if (part.p_type == PT_GNU_RELRO) {
      importer.read_only_begin = page_begin(begin);
      importer.read_only_end = page_begin(begin + part.p_memsz);
    }
  }
  if (!importer.slots.empty()) found.push_back(std::move(importer));
  return 0;
}

void PltHook::find() {
  Search search{*this, {}};
  dl_iterate_phdr(note, &search);
  complete_ = true;
  // Only now, for the loader was locked: what follows takes locks of its own.
  for (const Importer& importer : search.found) complete_ = take(importer) && complete_;
}

bool PltHook::take(const Importer& importer) {
  // Its calls come to us from now on, so that we must stay loaded. The program itself always does.
  if (own_->l_name[0] != '\0' && dlopen(own_->l_name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE) == nullptr) return false;
  // Waits for a library that another thread is just loading, and keeps it, for its slots are read from now on.
  const char* const path = importer.path.empty() ? nullptr : importer.path.c_str();
  std::unique_ptr<void, int (*)(void*)> handle(dlopen(path, RTLD_LAZY | RTLD_NOLOAD), dlclose);
  link_map* map = nullptr;
  if (!handle || dlinfo(handle.get(), RTLD_DI_LINKMAP, &map) != 0 || map->l_addr != importer.base) return false;
  std::vector<Slot> slots;
  for (void** place : importer.slots) {
    void* const now = std::atomic_ref<void*>(*place).load();
    // A slot that was not called through yet points into its own library, to what asks the loader. Another address is
    // that of another copy of the function, whose calls are none of ours, or of another tool.
    if (now != original_ && now != replacement_) {
      if (dlsym(handle.get(), symbol_) != original_) continue;
      if (library_of(now) != map) return false;
    }
    const auto address = reinterpret_cast<uintptr_t>(place);
    slots.push_back({place, address >= importer.read_only_begin && address < importer.read_only_end, false});
  }
  slots_.insert(slots_.end(), slots.begin(), slots.end());
  importers_.push_back(importer.base);
  static_cast<void>(handle.release());
  return true;
}

bool PltHook::hold(Slot& slot) {
  void* const now = std::atomic_ref<void*>(*slot.place).load();
  if (now == replacement_) return true;
  if (slot.ours) {
    // What else is written there would be another tool's, and not ours to undo.
    if (now != original_) return false;
    ++losses_;
  }
  slot.ours = write(slot.place, slot.read_only, replacement_);
  return slot.ours;
}

}  // namespace resnet_nodes
