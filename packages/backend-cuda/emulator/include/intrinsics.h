// CUDA's built-in types and functions on the CPU: vectors, barriers, shuffles, votes, reductions, atomics, math.
#pragma once

#include <cmath>

#include "fibers.h"

using std::isinf;
using std::isnan;

#define EMU_VECTOR(name, type, bytes2, bytes4)          \
  struct alignas(bytes2) name##2 {                      \
    type x, y;                                          \
  };                                                    \
  struct name##3 {                                      \
    type x, y, z;                                       \
  };                                                    \
  struct alignas(bytes4) name##4 {                      \
    type x, y, z, w;                                    \
  };                                                    \
  static inline name##2 make_##name##2(type x, type y) { return {x, y}; }                         \
  static inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }              \
  static inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
#define uint3 emu_uint3  // fibers.h has it
EMU_VECTOR(float, float, 8, 16)
EMU_VECTOR(int, int, 8, 16)
EMU_VECTOR(uint, unsigned, 8, 16)
EMU_VECTOR(short, short, 4, 8)
EMU_VECTOR(ushort, unsigned short, 4, 8)
EMU_VECTOR(char, signed char, 2, 4)
EMU_VECTOR(uchar, unsigned char, 2, 4)
#undef uint3
#undef EMU_VECTOR

// Barriers and votes of a block

static inline int emu_barrier(int predicate) {
  emu::fibers[emu::current].predicate = predicate;
  emu::yield(emu::kAtBarrier);
  return 0;
}
static inline void __syncthreads() { emu_barrier(0); }
static inline int __syncthreads_or(int p) { return emu_barrier(p), emu::votes.any; }
static inline int __syncthreads_and(int p) { return emu_barrier(p), emu::votes.all; }
static inline int __syncthreads_count(int p) { return emu_barrier(p), emu::votes.count; }
static inline void __threadfence() {}
static inline void __threadfence_block() {}
static inline void __nanosleep(unsigned) {}

// Warps

static inline void __syncwarp(unsigned mask = ~0u) {
  emu::collective(mask, nullptr, "__syncwarp", [](void**, unsigned) {});
}
static inline unsigned __activemask() { return emu::warpLanes(); }

template <class T>
struct EmuShuffle {
  T in, out;
  unsigned source;
};
/** A lane that reads one outside the mask gets poison: the device gives nothing defined. */
template <class T>
static inline T emu_shuffle(unsigned mask, T value, unsigned source, const char* name) {
  EmuShuffle<T> own{value, value, source};
  emu::collective(mask, &own, name, [](void** lanes, unsigned need) {
    for (unsigned i = 0; i < 32; i++) {
      if (!(need >> i & 1)) continue;
      auto* self = static_cast<EmuShuffle<T>*>(lanes[i]);
      if (need >> self->source & 1)
        self->out = static_cast<EmuShuffle<T>*>(lanes[self->source])->in;
      else
        memset(&self->out, 0xff, sizeof(T));
    }
  });
  return own.out;
}
/** Lanes shuffle within segments of `width`; one that leaves its segment keeps its own value. */
template <class T>
static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const unsigned segment = emu::lane() & ~unsigned(width - 1);
  return emu_shuffle(mask, value, segment + (unsigned(source) & unsigned(width - 1)), "__shfl_sync");
}
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  const unsigned me = emu::lane(), to = me ^ unsigned(bits);
  return emu_shuffle(mask, value, to / unsigned(width) > me / unsigned(width) ? me : to, "__shfl_xor_sync");
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const unsigned me = emu::lane(), to = me + by;
  return emu_shuffle(mask, value, (me & unsigned(width - 1)) + by < unsigned(width) ? to : me, "__shfl_down_sync");
}
template <class T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const unsigned me = emu::lane();
  return emu_shuffle(mask, value, (me & unsigned(width - 1)) >= by ? me - by : me, "__shfl_up_sync");
}

template <class T>
struct EmuReduce {
  T in, out;
};
template <class T, class F>
static inline T emu_reduce(unsigned mask, T value, const char* name, F combine) {
  EmuReduce<T> own{value, value};
  emu::collective(mask, &own, name, [combine](void** lanes, unsigned need) {
    bool first = true;
    T total{};
    for (unsigned i = 0; i < 32; i++) {
      if (!(need >> i & 1)) continue;
      const T next = static_cast<EmuReduce<T>*>(lanes[i])->in;
      total = first ? next : combine(total, next);
      first = false;
    }
    for (unsigned i = 0; i < 32; i++)
      if (need >> i & 1) static_cast<EmuReduce<T>*>(lanes[i])->out = total;
  });
  return own.out;
}
static inline unsigned __ballot_sync(unsigned mask, int p) {
  return emu_reduce(mask, p ? 1u << emu::lane() : 0u, "__ballot_sync", [](unsigned a, unsigned b) { return a | b; });
}
static inline int __any_sync(unsigned mask, int p) {
  return emu_reduce(mask, int(p != 0), "__any_sync", [](int a, int b) { return a | b; });
}
static inline int __all_sync(unsigned mask, int p) {
  return emu_reduce(mask, int(p != 0), "__all_sync", [](int a, int b) { return a & b; });
}
#define EMU_REDUCE(name, expression)                                            \
  static inline unsigned name(unsigned mask, unsigned value) {                  \
    return emu_reduce(mask, value, #name, [](unsigned a, unsigned b) { return expression; }); \
  }                                                                             \
  static inline int name(unsigned mask, int value) {                            \
    return emu_reduce(mask, value, #name, [](int a, int b) { return expression; });           \
  }
EMU_REDUCE(__reduce_add_sync, a + b)
EMU_REDUCE(__reduce_min_sync, a < b ? a : b)
EMU_REDUCE(__reduce_max_sync, a > b ? a : b)
EMU_REDUCE(__reduce_and_sync, a& b)
EMU_REDUCE(__reduce_or_sync, a | b)
#undef EMU_REDUCE

// Atomics: threads do not run at the same time, so a plain update is one.

#define EMU_ATOMIC(name, expression)                          \
  template <class T>                                          \
  static inline T name(T* at, decltype(T() + T()) operand) {  \
    const T old = *at, v = T(operand);                        \
    *at = (expression);                                       \
    return old;                                               \
  }
EMU_ATOMIC(atomicAdd, old + v)
EMU_ATOMIC(atomicSub, old - v)
EMU_ATOMIC(atomicMin, old < v ? old : v)
EMU_ATOMIC(atomicMax, old > v ? old : v)
EMU_ATOMIC(atomicAnd, old& v)
EMU_ATOMIC(atomicOr, old | v)
EMU_ATOMIC(atomicXor, old ^ v)
EMU_ATOMIC(atomicExch, v)
EMU_ATOMIC(atomicInc, old >= v ? 0 : old + 1)
#undef EMU_ATOMIC
template <class T>
static inline T atomicCAS(T* at, T expected, T value) {
  const T old = *at;
  if (old == expected) *at = value;
  return old;
}

// Numbers. glibc already declares __expf and its like, hence macros.

template <class T, class F>
static inline T emu_bits(F value) {
  static_assert(sizeof(T) == sizeof(F), "");
  T out;
  memcpy(&out, &value, sizeof out);
  return out;
}
static inline float __int_as_float(int v) { return emu_bits<float>(v); }
static inline float __uint_as_float(unsigned v) { return emu_bits<float>(v); }
static inline int __float_as_int(float v) { return emu_bits<int>(v); }
static inline unsigned __float_as_uint(float v) { return emu_bits<unsigned>(v); }
static inline float rsqrtf(float v) { return 1.0f / sqrtf(v); }
static inline float __frcp_rn(float v) { return 1.0f / v; }
static inline float __fsqrt_rn(float v) { return sqrtf(v); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __saturatef(float v) { return v > 0 ? (v < 1 ? v : 1.0f) : 0.0f; }
static inline float normcdff(float v) { return 0.5f * erfcf(-v * 0.70710678118654752f); }
#define __expf(v) expf(v)
#define __exp2f(v) exp2f(v)
#define __logf(v) logf(v)
#define __log2f(v) log2f(v)
#define __sinf(v) sinf(v)
#define __cosf(v) cosf(v)
#define __powf(a, b) powf(a, b)
#define __tanhf(v) tanhf(v)
/** Keeps the compiler from contracting into a fused multiply-add, as __fmul_rn and its like promise. */
static inline __attribute__((noinline)) float __fmul_rn(float a, float b) { return a * b; }
static inline __attribute__((noinline)) float __fadd_rn(float a, float b) { return a + b; }
static inline __attribute__((noinline)) float __fsub_rn(float a, float b) { return a - b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline int __float2int_rn(float v) { return int(nearbyintf(v)); }
static inline int __float2int_rz(float v) { return int(v); }
static inline int __popc(unsigned v) { return __builtin_popcount(v); }
static inline int __clz(int v) { return v ? __builtin_clz(unsigned(v)) : 32; }
static inline int __ffs(int v) { return __builtin_ffs(v); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
static inline int __mulhi(int a, int b) { return int((int64_t(a) * b) >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned select) {
  const uint64_t both = uint64_t(b) << 32 | a;
  unsigned out = 0;
  for (int i = 0; i < 4; i++) out |= unsigned(both >> 8 * (select >> 4 * i & 7) & 0xff) << 8 * i;
  return out;
}
template <class T>
static inline T __ldg(const T* at) {
  return *at;
}
template <class A, class B>
static inline auto min(A a, B b) -> decltype(a + b) {
  return a < b ? a : b;
}
template <class A, class B>
static inline auto max(A a, B b) -> decltype(a + b) {
  return a > b ? a : b;
}
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline long long clock64() { return 0; }
#define __trap() emu::fail("__trap was called")
#define assert(condition) ((condition) ? (void)0 : emu::fail("assertion failed: %s", #condition))
