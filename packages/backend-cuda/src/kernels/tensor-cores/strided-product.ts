// The tiled product on tensor cores for operands of any strides, in place of gpu-kernels' productBody: half-precision
// tiles in workgroup memory, mma.m16n8k16 with float32 sums. CUDA C++; the wrappers (mma…, loadMatrix…) are in
// text/device.cu.ts.

import { cellsOfA, cellsOfB, loader } from '@darkroom/gpu-kernels';
import type { Product, Shader } from '@darkroom/gpu-kernels';
import { fragmentBytes, fragmentsOf, storeFragments } from './fragments.ts';

/** Elements between rows of a tile beyond its width: rows then start in different banks. */
const padding = 8;

/** The body of a product's kernel whose tiles are of `element`. Tiles: tensor-cores/tiles.ts. */
export function stridedProductBody(s: Shader, p: Product, element: 'f16' | 'bf16'): string {
  const { tile: t } = p;
  const { threads, mi, nj, setup } = fragmentsOf(t);
  const [strideA, strideB] = [t.k + padding, t.n + padding];
  // The two tiles, and after the last of them the results on their way out.
  const tileWords = (t.m * strideA) / 8;
  s.shared('words', 'vec4<u32>', Math.max(tileWords + (t.k * strideB) / 8, fragmentBytes(t) / 16));
  const convert = (value: string): string => `vec4<${element}>(${value})`;
  const left = loader(s, p.a, { ...cellsOfA(t, p.a, threads, strideA / 4), convert });
  const right = loader(s, p.b, { ...cellsOfB(t, p.b, threads, strideB / 4), convert });
  const mma = element === 'bf16' ? 'mmaBf16' : 'mmaF16';
  return `u32 row0 = tile_row * ${t.m}u;
  u32 col0 = tile_col * ${t.n}u;
  ${setup}
  vec4<${element}>* tile_a = reinterpret_cast<vec4<${element}>*>(words);
  vec4<${element}>* tile_b = reinterpret_cast<vec4<${element}>*>(words + ${tileWords});
  const u16* a_at = reinterpret_cast<const u16*>(words) + (warp_row + lane % 16u) * ${strideA}u + lane / 16u * 8u;
  const u16* b_at = reinterpret_cast<const u16*>(words + ${tileWords}) + lane % 16u * ${strideB}u + warp_col;
  ${left.setup} ${right.setup}
  float acc[${mi}][${nj}][4] = {};
  ${p.taps ?? '{'}
  ${left.tap} ${right.tap}
  for (var k0 = 0u; k0 < ${p.k}; k0 += ${t.k}u) {
    ${left.loads}
    ${right.loads}
    workgroupBarrier();
    #pragma unroll
    for (int kk = 0; kk < ${t.k}; kk += 16) {
      u32 fa[${mi}][4];
      u32 fb[${nj}][2];
      #pragma unroll
      for (int i = 0; i < ${mi}; i++) loadMatrix4(fa[i], a_at + i * ${16 * strideA} + kk);
      #pragma unroll
      for (int j = 0; j < ${nj}; j++) loadMatrix2Transposed(fb[j], b_at + kk * ${strideB} + j * 8);
      #pragma unroll
      for (int i = 0; i < ${mi}; i++)
        #pragma unroll
        for (int j = 0; j < ${nj}; j++) ${mma}(acc[i][j], fa[i], fb[j]);
    }
    workgroupBarrier();
  }
  }
  ${storeFragments(t, 'reinterpret_cast<float*>(words)', (row, col, v) => `if (${row} < ${p.m} && ${col} < ${p.n}) { ${p.store(row, col, v)} }`)}`;
}
