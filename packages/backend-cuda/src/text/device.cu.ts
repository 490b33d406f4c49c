// The head of every kernel's text: number formats, and each PTX instruction in a named wrapper with a twin for the
// CPU emulator (CUDA_EMU). No include: NVRTC knows no header by itself, and a machine may have none.

export const device: string = /* cuda */ `
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
struct f16 { u16 bits; };
struct bf16 { u16 bits; };
#define DEVICE static __device__ __forceinline__

#ifdef CUDA_EMU

// Dynamic shared memory, aligned to 16 bytes.
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(emu::dynamicShared)
DEVICE float toFloat(f16 v) { return emu::halfToFloat(v.bits); }
DEVICE f16 toF16(float v) { return {emu::floatToHalf(v)}; }
DEVICE bf16 toBf16(float v) { return {emu::floatToBf16(v)}; }
DEVICE u32 packF16(float low, float high) { return emu::floatToHalf(low) | u32(emu::floatToHalf(high)) << 16; }
DEVICE u32 packBf16(float low, float high) { return emu::floatToBf16(low) | u32(emu::floatToBf16(high)) << 16; }
DEVICE u32 toTf32(float v) { return emu::floatToTf32(v); }
DEVICE float fastExp2(float v) { return exp2f(v); }
DEVICE float fastReciprocal(float v) { return 1.0f / v; }
DEVICE void mmaF16(float* d, const u32* a, const u32* b) { emu::mmaF16(d, a, b); }
DEVICE void mmaBf16(float* d, const u32* a, const u32* b) { emu::mmaBf16(d, a, b); }
DEVICE void mmaTf32(float* d, const u32* a, const u32* b) { emu::mmaTf32(d, a, b); }
DEVICE void loadMatrix2(u32* r, const void* row) { emu::loadMatrix<2, false>(r, row); }
DEVICE void loadMatrix4(u32* r, const void* row) { emu::loadMatrix<4, false>(r, row); }
DEVICE void loadMatrix2Transposed(u32* r, const void* row) { emu::loadMatrix<2, true>(r, row); }
DEVICE void loadMatrix4Transposed(u32* r, const void* row) { emu::loadMatrix<4, true>(r, row); }
template <int bytes> DEVICE void copyAsync(void* to, const void* from, int valid = bytes) {
  emu::copyAsync(to, from, bytes, u32(valid));
}
DEVICE void copyCommit() { emu::copyCommit(); }
template <int rest> DEVICE void copyWait() { emu::copyWait(rest, false); }
DEVICE void copyWaitAll() { emu::copyWait(0, true); }

#else

#define DYNAMIC_SHARED(type, name)                 \\
  extern __shared__ uint4 darkroomDynamicShared[]; \\
  type* name = reinterpret_cast<type*>(darkroomDynamicShared)
DEVICE u32 sharedAddress(const void* p) { return u32(__cvta_generic_to_shared(p)); }

DEVICE float toFloat(f16 v) {
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(v.bits));
  return r;
}
DEVICE f16 toF16(float v) {
  f16 r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r.bits) : "f"(v));
  return r;
}
DEVICE bf16 toBf16(float v) {
  bf16 r;
#if __CUDA_ARCH__ >= 900
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(v));
#else
  const u32 bits = __float_as_uint(v);
  r.bits = (bits & 0x7fffffffu) > 0x7f800000u ? u16(0x7fff) : u16((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
#endif
  return r;
}
DEVICE u32 packF16(float low, float high) {
#if __CUDA_ARCH__ >= 800
  u32 r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
#else
  return toF16(low).bits | u32(toF16(high).bits) << 16;
#endif
}
DEVICE u32 packBf16(float low, float high) {
#if __CUDA_ARCH__ >= 800
  u32 r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
#else
  return toBf16(low).bits | u32(toBf16(high).bits) << 16;
#endif
}
DEVICE float fastExp2(float v) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}
DEVICE float fastReciprocal(float v) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}

// d (16x8, float) += a (16x16, rows) * b (16x8, columns), one warp. Turing has the half as deep one.
DEVICE void mmaF16(float* d, const u32* a, const u32* b) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  for (int k = 0; k < 2; k++)
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[2 * k]), "r"(a[2 * k + 1]), "r"(b[k]));
#endif
}
#if __CUDA_ARCH__ >= 800
DEVICE void mmaBf16(float* d, const u32* a, const u32* b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// d (16x8) += a (16x8) * b (8x8); a and b are float bits that went through toTf32.
DEVICE void mmaTf32(float* d, const u32* a, const u32* b) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
DEVICE u32 toTf32(float v) {
  u32 r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(v));
  return r;
}
#endif

// 8x8 matrices of 16-bit elements: lane 8m+i brings row i of matrix m in shared memory, aligned to 16 bytes.
DEVICE void loadMatrix2(u32* r, const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
      : "=r"(r[0]), "=r"(r[1]) : "r"(sharedAddress(row)) : "memory");
}
DEVICE void loadMatrix4(u32* r, const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(sharedAddress(row)) : "memory");
}
DEVICE void loadMatrix2Transposed(u32* r, const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
      : "=r"(r[0]), "=r"(r[1]) : "r"(sharedAddress(row)) : "memory");
}
DEVICE void loadMatrix4Transposed(u32* r, const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(sharedAddress(row)) : "memory");
}

// Global to shared memory past the registers: of \`bytes\` (4, 8, 16) the first \`valid\` are read, the rest become 0.
// A copy is there after its group was waited for, and for other threads after a barrier. Turing copies at once.
template <int bytes> DEVICE void copyAsync(void* to, const void* from, int valid = bytes) {
#if __CUDA_ARCH__ >= 800
  if (bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(sharedAddress(to)), "l"(from), "r"(valid) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" :: "r"(sharedAddress(to)), "l"(from), "r"(valid), "n"(bytes == 16 ? 8 : bytes) : "memory");
#else
  if (valid == bytes && bytes == 16) {
    *static_cast<uint4*>(to) = *static_cast<const uint4*>(from);
  } else {
    for (int i = 0; i < bytes; i++) static_cast<u8*>(to)[i] = i < valid ? static_cast<const u8*>(from)[i] : u8(0);
  }
#endif
}
DEVICE void copyCommit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Until at most \`rest\` of the committed groups are under way.
template <int rest> DEVICE void copyWait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" :: "n"(rest) : "memory");
#endif
}
DEVICE void copyWaitAll() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

#endif

// On both.

DEVICE float toFloat(bf16 v) { return __uint_as_float(u32(v.bits) << 16); }
DEVICE float toFloat(float v) { return v; }
template <typename T> struct From;
template <> struct From<float> { static __device__ __forceinline__ float of(float v) { return v; } };
template <> struct From<f16> { static __device__ __forceinline__ f16 of(float v) { return toF16(v); } };
template <> struct From<bf16> { static __device__ __forceinline__ bf16 of(float v) { return toBf16(v); } };
/** fromFloat<T>(v): v in T, rounded to nearest even. */
template <typename T> DEVICE T fromFloat(float v) { return From<T>::of(v); }
DEVICE float lowF16(u32 v) { f16 h; h.bits = u16(v); return toFloat(h); }
DEVICE float highF16(u32 v) { f16 h; h.bits = u16(v >> 16); return toFloat(h); }
DEVICE float lowBf16(u32 v) { return __uint_as_float(v << 16); }
DEVICE float highBf16(u32 v) { return __uint_as_float(v & 0xffff0000u); }
/** Over all 32 lanes; every lane gets it. */
DEVICE float warpSum(float v) {
  for (int by = 16; by > 0; by >>= 1) v += __shfl_xor_sync(0xffffffffu, v, by);
  return v;
}
DEVICE float warpMax(float v) {
  for (int by = 16; by > 0; by >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, by));
  return v;
}
`;

/** The text that NVRTC gets: the header, then the kernel, whose lines count from 1. */
export function kernelText(source: string): string {
  return `${device}\n#line 1\n${source}`;
}
