// One block of CUDA threads on one CPU thread: each is a fiber that runs until it waits. A block barrier yields; every
// warp operation is one primitive, `collective`: lanes bring a pointer each, and the last to arrive computes for all.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <utility>

#include "launch.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __restrict__ __restrict
// All static shared memory is one section, poisoned before each block.
#define __shared__ static __attribute__((section("emu_shared")))

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static const int warpSize = 32;

extern "C" char __start_emu_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_emu_shared[] __attribute__((weak, visibility("hidden")));

// Saves the callee-saved registers and swaps stacks; swapcontext would do a system call each time.
__asm__(
    ".text\n.local emu_swap_stacks\n.type emu_swap_stacks,@function\nemu_swap_stacks:\n"
    " push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
    " mov %rsp,(%rdi)\n mov %rsi,%rsp\n"
    " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret\n");
extern "C" __attribute__((visibility("hidden"))) void emu_swap_stacks(void** from, void* to);

namespace emu {

enum State { kRunning, kAtBarrier, kAtWarp, kExited };

/** A cp.async that was issued and not yet waited for: the bytes arrive when the thread waits, not before. */
struct Pending {
  void* target;
  const void* source;
  unsigned bytes, valid, group;
};
constexpr unsigned kMaxPending = 256;
/** Of declared sizes; more must be asked for at launch. */
constexpr size_t kMaxStaticShared = 48 << 10;

struct Fiber {
  void* stack;
  State state;
  uint3 index;
  // Of the warp operation it waits in
  void* argument;
  const char* operation;
  int predicate;
  unsigned pendingCount, groups;
  Pending pending[kMaxPending];
};

static Fiber fibers[kMaxThreads];
static Launch* job;
static void (*body)(const char*);
static void* scheduler;
static unsigned current, threads;
static bool failed;
static char* dynamicShared;
static struct {
  int any, all, count;
} votes;  // of the last block barrier

static inline unsigned lane() { return current & 31; }

/** Ends the launch with a message; the running thread does not go on. */
__attribute__((format(printf, 1, 2))) static void fail(const char* format, ...);

static inline void yield(State state) {
  Fiber& self = fibers[current];
  self.state = state;
  emu_swap_stacks(&self.stack, scheduler);
}

static void fail(const char* format, ...) {
  if (!failed) {
    va_list list;
    va_start(list, format);
    vsnprintf(job->message, sizeof job->message, format, list);
    va_end(list);
  }
  failed = true;
  for (;;) yield(kExited);
}

static inline unsigned warpLanes() {
  const unsigned rest = threads - (current & ~31u);
  return rest >= 32 ? ~0u : (1u << rest) - 1;
}

/** Runs f(arguments of all lanes, mask) once all lanes in `mask` have come. */
template <class F>
static inline void collective(unsigned mask, void* argument, const char* operation, F f) {
  Fiber* warp = fibers + (current & ~31u);
  const unsigned me = lane();
  if (!(mask >> me & 1)) fail("%s: lane %u calls but is not in its mask %08x", operation, me, mask);
  const unsigned need = mask & warpLanes();
  warp[me].argument = argument;
  warp[me].operation = operation;
  unsigned waiting = 0;
  for (unsigned i = 0; i < 32; i++) {
    if (!(need >> i & 1) || i == me || warp[i].state != kAtWarp) continue;
    if (warp[i].operation != operation)
      fail("the warp diverges: lane %u is at %s, lane %u at %s", me, operation, i, warp[i].operation);
    waiting |= 1u << i;
  }
  if ((waiting | 1u << me) != need) return yield(kAtWarp);
  void* arguments[32] = {};
  for (unsigned i = 0; i < 32; i++)
    if (need >> i & 1) arguments[i] = warp[i].argument;
  f(arguments, need);
  for (unsigned i = 0; i < 32; i++)
    if (waiting >> i & 1) warp[i].state = kRunning;
}

/** As collective, for the operations that only a full warp may call. */
template <class F>
static inline void wholeWarp(void* argument, const char* operation, F f) {
  if (warpLanes() != ~0u) fail("%s: the block's last warp has only %u threads", operation, threads & 31);
  collective(~0u, argument, operation, f);
}

static void runThread() {
  for (;;) {
    body(job->arguments);
    if (fibers[current].pendingCount) fail("a thread ends with copies that it did not wait for (cp.async)");
    yield(kExited);
  }
}

static void releaseBarrier() {
  votes = {0, 1, 0};
  for (unsigned i = 0; i < threads; i++) {
    if (fibers[i].state != kAtBarrier) continue;
    votes.any |= fibers[i].predicate != 0;
    votes.all &= fibers[i].predicate != 0;
    votes.count += fibers[i].predicate != 0;
    fibers[i].state = kRunning;
  }
}

static void runBlock() {
  // Poison: NaN in every float format, so that reading before writing shows.
  if (__start_emu_shared) memset(__start_emu_shared, 0xff, size_t(__stop_emu_shared - __start_emu_shared));
  memset(dynamicShared, 0xff, size_t(job->sharedEnd - dynamicShared));
  for (unsigned i = 0; i < threads; i++) {
    fibers[i].state = kRunning;
    fibers[i].pendingCount = fibers[i].groups = 0;
  }
  for (;;) {
    unsigned ran = 0, count[4] = {};
    for (unsigned i = 0; i < threads; i++) {
      const unsigned next = job->reverse ? threads - 1 - i : i;
      if (fibers[next].state != kRunning) continue;
      current = next;
      threadIdx = fibers[next].index;
      emu_swap_stacks(&scheduler, fibers[next].stack);
      if (failed) return;
      ran++;
    }
    for (unsigned i = 0; i < threads; i++) count[fibers[i].state]++;
    if (count[kExited] == threads) return;
    if (ran) continue;
    if (count[kAtWarp]) {
      failed = true;
      const char* operation = "";
      for (unsigned i = 0; i < threads; i++)
        if (fibers[i].state == kAtWarp) operation = fibers[i].operation;
      snprintf(job->message, sizeof job->message,
               "deadlock: %u threads at a block barrier, %u at a warp operation (%s), %u exited", count[kAtBarrier],
               count[kAtWarp], operation, count[kExited]);
      return;
    }
    releaseBarrier();  // as on the device, exited threads do not count
  }
}

static int run(void (*kernel)(const char*), size_t argumentBytes, Launch* launch) {
  job = launch;
  body = kernel;
  failed = false;
  blockDim = {launch->block[0], launch->block[1], launch->block[2]};
  gridDim = {launch->grid[0], launch->grid[1], launch->grid[2]};
  threads = blockDim.x * blockDim.y * blockDim.z;
  dynamicShared = launch->sharedEnd - (launch->sharedBytes + 15) / 16 * 16;
  launch->blockIndex = &blockIdx.x;
  launch->threadIndex = &threadIdx.x;
  if (launch->argumentBytes != argumentBytes) {
    snprintf(launch->message, sizeof launch->message, "the kernel takes %zu bytes of arguments, %zu were given",
             argumentBytes, launch->argumentBytes);
    return kInvalidValue;
  }
  const size_t shared = __start_emu_shared ? size_t(__stop_emu_shared - __start_emu_shared) : 0;
  if (shared > kMaxStaticShared) {
    snprintf(launch->message, sizeof launch->message, "the kernel declares %zu bytes of shared memory, at most %zu may be",
             shared, kMaxStaticShared);
    return kInvalidValue;
  }
  for (unsigned i = 0; i < threads; i++) {
    void** top = reinterpret_cast<void**>(launch->stacks + (i + 1) * kStackBytes - 64);
    *--top = nullptr;  // the stack is 16-byte aligned when runThread starts
    *--top = reinterpret_cast<void*>(runThread);
    for (int k = 0; k < 6; k++) *--top = nullptr;
    fibers[i].stack = top;
    fibers[i].index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
  }
  for (unsigned z = 0; z < gridDim.z; z++)
    for (unsigned y = 0; y < gridDim.y; y++)
      for (unsigned x = 0; x < gridDim.x; x++) {
        blockIdx = {x, y, z};
        runBlock();
        if (failed) return kLaunchFailed;
      }
  return kSuccess;
}

// Arguments lie in the block as in a C struct.

template <class... A>
struct Arguments {
  size_t offset[sizeof...(A) + 1] = {};
  constexpr Arguments() {
    size_t at = 0, i = 0;
    ((at = (at + alignof(A) - 1) / alignof(A) * alignof(A), offset[i++] = at, at += sizeof(A)), ...);
    offset[i] = at;
  }
};
template <class... A, size_t... I>
static inline void invoke(void (*kernel)(A...), const char* block, std::index_sequence<I...>) {
  constexpr Arguments<A...> layout;
  (void)block, (void)layout;
  kernel(*reinterpret_cast<const A*>(block + layout.offset[I])...);
}
template <class... A>
static inline void invoke(void (*kernel)(A...), const char* block) {
  invoke(kernel, block, std::index_sequence_for<A...>());
}
template <class... A>
static constexpr size_t argumentBytes(void (*)(A...)) {
  return Arguments<A...>().offset[sizeof...(A)];
}

}  // namespace emu

#define EMU_EXPORT(kernel)                                                                                    \
  extern "C" __attribute__((visibility("default"))) int emu_kernel_##kernel(emu::Launch* launch) {            \
    return emu::run([](const char* block) { emu::invoke(kernel, block); }, emu::argumentBytes(kernel), launch); \
  }
