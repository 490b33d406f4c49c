// Shared by products on tensor cores: the places of a warp's fragments in a tile, and their way out of the registers.

import type { Tile } from '@darkroom/gpu-kernels';

/** Two rows of warps; each has mi × nj fragments of 16 × 8 results. */
export function fragmentsOf(t: Tile): {
  readonly threads: number;
  readonly mi: number;
  readonly nj: number;
  /** Statements that declare the lane and the start of the warp's part of the tile. */
  readonly setup: string;
} {
  const threads = t.rows * t.columns;
  const across = threads / 64;
  return {
    threads,
    mi: t.m / 32,
    nj: t.n / across / 8,
    setup: `u32 lane = tid % 32u;
  u32 warp_row = tid / ${32 * across}u * ${t.m / 2}u;
  u32 warp_col = tid / 32u % ${across}u * ${t.n / across}u;`,
  };
}

/** Floats between rows on their way out: the eight rows that a warp writes at once start in different banks. */
const rowStride = (t: Tile): number => t.n + 8;

/** Bytes of workgroup memory that storeFragments needs. */
export const fragmentBytes = (t: Tile): number => 32 * rowStride(t) * 4;

/**
 * Statements that take acc[mi][nj][4] through workgroup memory, sixteen rows of each row of warps at a time, so that
 * quads of a row lie together. `floats` is that memory as float*, `store` gets row and column of the product.
 */
export function storeFragments(
  t: Tile,
  floats: string,
  store: (row: string, col: string, v: string) => string,
): string {
  const { threads, mi, nj } = fragmentsOf(t);
  const [nq, stride] = [t.n / 4, rowStride(t)];
  return `float* c_at = ${floats} + (warp_row / ${t.m / 2}u * 16u + lane / 4u) * ${stride}u + warp_col + lane % 4u * 2u;
  const vec4<f32>* c_quads = reinterpret_cast<const vec4<f32>*>(${floats});
  #pragma unroll
  for (int i = 0; i < ${mi}; i++) {
    #pragma unroll
    for (int j = 0; j < ${nj}; j++) {
      c_at[j * 8] = acc[i][j][0];
      c_at[j * 8 + 1] = acc[i][j][1];
      c_at[j * 8 + ${8 * stride}] = acc[i][j][2];
      c_at[j * 8 + ${8 * stride + 1}] = acc[i][j][3];
    }
    workgroupBarrier();
    for (u32 cell = tid; cell < ${32 * nq}u; cell += ${threads}u) {
      u32 r = cell / ${nq}u;
      u32 row = row0 + r / 16u * ${t.m / 2}u + u32(i) * 16u + r % 16u;
      u32 col = col0 + cell % ${nq}u * 4u;
      ${store('row', 'col', `c_quads[r * ${stride / 4}u + cell % ${nq}u]`)}
    }
    workgroupBarrier();
  }`;
}
