// The PTX of our kernels on the CPU: half formats, mma, ldmatrix and cp.async, with the lane layouts of the PTX ISA.
#pragma once

#include "intrinsics.h"

namespace emu {

// The compiler's own names: <immintrin.h> would cost each kernel a quarter of a second.
typedef short HalfVector __attribute__((vector_size(16)));
typedef float FloatVector __attribute__((vector_size(16)));

static inline float halfToFloat(uint16_t bits) {
#ifdef __F16C__
  return __builtin_ia32_vcvtph2ps(HalfVector{short(bits)})[0];
#else
  const uint32_t sign = uint32_t(bits & 0x8000) << 16, rest = bits & 0x7fff;
  if (rest >= 0x7c00) return emu_bits<float>(sign | 0x7f800000 | rest << 13);
  const float magnitude = emu_bits<float>(rest << 13) * 0x1p112f;  // also right for subnormals
  return emu_bits<float>(sign | emu_bits<uint32_t>(magnitude));
#endif
}
static inline uint16_t floatToHalf(float value) {
#ifdef __F16C__
  return uint16_t(__builtin_ia32_vcvtps2ph(FloatVector{value}, 0)[0]);
#else
  const uint32_t bits = emu_bits<uint32_t>(value), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
  if (rest > 0x7f800000) return uint16_t(sign | 0x7e00);
  if (rest >= 0x477ff000) return uint16_t(sign | 0x7c00);
  // Adding a number whose last place is a half's rounds to nearest even, in hardware.
  if (rest < 0x38800000)
    return uint16_t(sign | (emu_bits<uint32_t>(emu_bits<float>(rest) + 0.5f) - 0x3f000000));
  return uint16_t(sign | ((rest + 0xfff + (rest >> 13 & 1) - 0x38000000) >> 13));
#endif
}
static inline float bf16ToFloat(uint16_t bits) { return emu_bits<float>(uint32_t(bits) << 16); }
static inline uint16_t floatToBf16(float value) {
  const uint32_t bits = emu_bits<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
/** Nearest, ties away from zero: 10 bits of mantissa stay. */
static inline uint32_t floatToTf32(float value) {
  const uint32_t bits = emu_bits<uint32_t>(value);
  if ((bits & 0x7fffffff) >= 0x7f800000) return bits;
  return (bits + 0x1000) & ~0x1fffu;
}

// A matrix product of one warp: m16n8, k by k. `Element` reads element i of a 32-bit register.

struct MmaLane {
  float* d;
  const uint32_t *a, *b;
};
template <int K, int PerRegister, class Read>
static inline void mma(float* d, const uint32_t* a, const uint32_t* b, const char* name, Read) {
  MmaLane own{d, a, b};
  wholeWarp(&own, name, [](void** lanes, unsigned) {
    constexpr int half = 4 * PerRegister;  // the columns of k that one register of the four lanes covers
    Read read;
    float A[16][K], B[K][8], D[16][8];
    auto each = [&](auto&& f) {
      for (int l = 0; l < 32; l++) f(static_cast<MmaLane*>(lanes[l]), l >> 2, l & 3);
    };
    each([&](MmaLane* lane, int row, int quad) {
      for (int k = 0; k < K / half; k++)
        for (int i = 0; i < PerRegister; i++) {
          const int column = k * half + quad * PerRegister + i;
          A[row][column] = read(lane->a[2 * k], i);
          A[row + 8][column] = read(lane->a[2 * k + 1], i);
          B[column][row] = read(lane->b[k], i);
        }
      for (int i = 0; i < 4; i++) D[row + (i >> 1) * 8][quad * 2 + (i & 1)] = lane->d[i];
    });
    for (int m = 0; m < 16; m++)
      for (int k = 0; k < K; k++)
        for (int n = 0; n < 8; n++) D[m][n] += A[m][k] * B[k][n];
    each([&](MmaLane* lane, int row, int quad) {
      for (int i = 0; i < 4; i++) lane->d[i] = D[row + (i >> 1) * 8][quad * 2 + (i & 1)];
    });
  });
}
struct ReadF16 {
  float operator()(uint32_t r, int i) const { return halfToFloat(uint16_t(r >> 16 * i)); }
};
struct ReadBf16 {
  float operator()(uint32_t r, int i) const { return bf16ToFloat(uint16_t(r >> 16 * i)); }
};
/** The tensor core ignores the low 13 bits. */
struct ReadTf32 {
  float operator()(uint32_t r, int) const { return emu_bits<float>(r & ~0x1fffu); }
};
static inline void mmaF16(float* d, const uint32_t* a, const uint32_t* b) {
  mma<16, 2>(d, a, b, "mma.m16n8k16.f16", ReadF16());
}
static inline void mmaF16k8(float* d, const uint32_t* a, const uint32_t* b) {
  mma<8, 2>(d, a, b, "mma.m16n8k8.f16", ReadF16());
}
static inline void mmaBf16(float* d, const uint32_t* a, const uint32_t* b) {
  mma<16, 2>(d, a, b, "mma.m16n8k16.bf16", ReadBf16());
}
static inline void mmaTf32(float* d, const uint32_t* a, const uint32_t* b) {
  mma<8, 1>(d, a, b, "mma.m16n8k8.tf32", ReadTf32());
}

// ldmatrix: lane 8m+i brings row i of matrix m; lane l gets two elements of each matrix.

struct MatrixLane {
  uint32_t* out;
  const uint16_t* row;
};
template <int Count, bool Transposed>
static inline void loadMatrix(uint32_t* out, const void* row) {
  constexpr const char* name = Transposed ? "ldmatrix.trans" : "ldmatrix";
  if (lane() < 8 * Count && reinterpret_cast<uintptr_t>(row) & 15)
    fail("%s: lane %u's row is not aligned to 16 bytes", name, lane());
  MatrixLane own{out, static_cast<const uint16_t*>(row)};
  wholeWarp(&own, name, [](void** lanes, unsigned) {
    for (int l = 0; l < 32; l++)
      for (int m = 0; m < Count; m++) {
        uint32_t value = 0;
        for (int i = 0; i < 2; i++) {
          const int r = Transposed ? (l & 3) * 2 + i : l >> 2, c = Transposed ? l >> 2 : (l & 3) * 2 + i;
          value |= uint32_t(static_cast<MatrixLane*>(lanes[m * 8 + r])->row[c]) << 16 * i;
        }
        static_cast<MatrixLane*>(lanes[l])->out[m] = value;
      }
  });
}

// cp.async: bytes arrive when their group is waited for, so that a missing wait reads poison.

static inline void copyAsync(void* target, const void* source, unsigned bytes, unsigned valid) {
  Fiber& self = fibers[current];
  if ((reinterpret_cast<uintptr_t>(target) | (valid ? reinterpret_cast<uintptr_t>(source) : 0)) & (bytes - 1))
    fail("cp.async: an address is not aligned to its %u bytes", bytes);
  if (self.pendingCount == kMaxPending) fail("cp.async: more than %u copies are under way in a thread", kMaxPending);
  self.pending[self.pendingCount++] = {target, source, bytes, valid, self.groups};
}
static inline void copyCommit() { fibers[current].groups++; }
/** Waits until at most `rest` committed groups are under way; `all` also takes what was not committed. */
static inline void copyWait(unsigned rest, bool all) {
  Fiber& self = fibers[current];
  const unsigned done = self.groups > rest ? self.groups - rest : 0;
  unsigned kept = 0;
  for (unsigned i = 0; i < self.pendingCount; i++) {
    const Pending copy = self.pending[i];
    if (!all && copy.group >= done) {
      self.pending[kept++] = copy;
      continue;
    }
    memcpy(copy.target, copy.source, copy.valid);
    memset(static_cast<char*>(copy.target) + copy.valid, 0, copy.bytes - copy.valid);
  }
  self.pendingCount = kept;
}

}  // namespace emu
