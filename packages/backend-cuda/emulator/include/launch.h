// Data from the emulated driver to a compiled kernel: sizes, the raw argument block, and the memory to run in.
#pragma once

#include <cstddef>

namespace emu {

constexpr unsigned kMaxThreads = 1024;
constexpr size_t kStackBytes = 64 << 10;  // one thread's stack, its lowest page a guard
constexpr size_t kMaxShared = 256 << 10;

// CUresult values that a launch may give.
enum { kSuccess = 0, kInvalidValue = 1, kIllegalAddress = 700, kLaunchFailed = 719 };

struct Launch {
  unsigned grid[3];
  unsigned block[3];
  size_t sharedBytes;
  const char* arguments;
  size_t argumentBytes;
  char* stacks;     // kMaxThreads of kStackBytes
  char* sharedEnd;  // dynamic shared memory ends here, against a guard page
  bool reverse;     // runs the threads last to first, to find order that the kernel does not ask for
  // Answers
  char message[512];
  const unsigned* blockIndex;  // of the running thread, for the message of a fault
  const unsigned* threadIndex;
};

using Entry = int (*)(Launch*);

}  // namespace emu
