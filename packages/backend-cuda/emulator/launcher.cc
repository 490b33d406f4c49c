#include "launcher.h"

#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>

#include <sys/mman.h>
#include <ucontext.h>

#include "memory.h"

using emu::Launch;
using Pointer = uint64_t;

static std::recursive_mutex running;
static Launch job;
static sigjmp_buf escape;
static struct sigaction previous[2];

static void onFault(int signal, siginfo_t* info, void* context) {
  const bool write = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_ERR] & 2;
  const auto at = reinterpret_cast<Pointer>(info->si_addr);
  const auto end = reinterpret_cast<Pointer>(job.sharedEnd), stacks = reinterpret_cast<Pointer>(job.stacks);
  std::string where = emu::locate(at);
  if (at >= end && at < end + 4096) where = std::to_string(at - end) + " bytes past the end of dynamic shared memory";
  if (at >= stacks && at < stacks + emu::kMaxThreads * emu::kStackBytes) where = "past the end of its stack";
  snprintf(job.message, sizeof job.message, "thread (%u,%u,%u): %s %s", job.threadIndex[0], job.threadIndex[1],
           job.threadIndex[2], signal == SIGBUS ? "bad access" : write ? "write" : "read", where.c_str());
  siglongjmp(escape, emu::kIllegalAddress);
}

static int guardedRun(emu::Entry entry) {
  static char signalStack[64 << 10];
  stack_t alternate{}, before{};
  alternate.ss_sp = signalStack;
  alternate.ss_size = sizeof signalStack;
  sigaltstack(&alternate, &before);
  struct sigaction action{};
  action.sa_sigaction = onFault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &previous[0]);
  sigaction(SIGBUS, &action, &previous[1]);
  int code = sigsetjmp(escape, 1);
  if (code == 0) code = entry(&job);
  sigaction(SIGSEGV, &previous[0], nullptr);
  sigaction(SIGBUS, &previous[1], nullptr);
  if (!(before.ss_flags & SS_ONSTACK)) sigaltstack(&before, nullptr);
  return code;
}

int emu::run(Entry entry, const unsigned* size, size_t sharedBytes, const std::vector<char>& arguments, bool reverse,
             std::string* message) {
  const std::lock_guard<std::recursive_mutex> one(running);
  static char* const stacks = emu::guarded(emu::kMaxThreads * emu::kStackBytes);
  static char* const shared = emu::guarded(emu::kMaxShared);
  static const bool split = [] {
    for (unsigned i = 0; i < emu::kMaxThreads; i++) mprotect(stacks + i * emu::kStackBytes, 4096, PROT_NONE);
    return true;
  }();
  (void)split;
  memset(&job, 0, sizeof job);
  memcpy(job.grid, size, sizeof job.grid);
  memcpy(job.block, size + 3, sizeof job.block);
  job.sharedBytes = sharedBytes;
  job.arguments = arguments.data();
  job.argumentBytes = arguments.size();
  job.stacks = stacks;
  job.sharedEnd = shared + emu::kMaxShared;
  job.reverse = reverse;
  static const unsigned zero[3] = {};
  job.blockIndex = job.threadIndex = zero;
  const int code = guardedRun(entry);
  if (code == 0) return 0;
  char block[64];
  snprintf(block, sizeof block, "block (%u,%u,%u): ", job.blockIndex[0], job.blockIndex[1], job.blockIndex[2]);
  *message = std::string(code == kInvalidValue ? "" : block) + job.message;
  return code;
}
