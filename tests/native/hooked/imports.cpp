// imports.cpp: a library that calls a function of another library. It is linked in several ways, for each makes another
// kind of slot; plt_hook_test.cpp loads them.
#include <gnu/libc-version.h>

extern "C" __attribute__((visibility("default"))) const char* call_imported() { return gnu_get_libc_version(); }
