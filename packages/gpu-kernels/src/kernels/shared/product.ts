// The tiled product C[m, n] = Σ A[m, k]·B[k, n] that matmul and conv2d share. A workgroup computes one tile through
// workgroup memory; an invocation holds a block of accumulators in quads along n. The caller gives the texts that read
// A in quads along k, read B in quads along n, and store quads.

import type { Shader } from '../../text/shader.ts';
import { cellsOfA, cellsOfB, loader } from './product-loader.ts';
import type { Operand } from './product-loader.ts';
import type { Tile } from './tiles.ts';

/** A product's texts, for the body of its kernel. */
export interface Product {
  readonly tile: Tile;
  /** Texts of the sizes. `k`: length of one tap's sum. */
  readonly m: string;
  readonly n: string;
  readonly k: string;
  readonly a: Operand;
  readonly b: Operand;
  /** Of a sum over taps, as a convolution's: opens their loop, whose brace the body closes. Default: one tap. */
  readonly taps?: string;
  /** Statements that store `v` (vec4) at row, col…col+3; may be cut off at the edges by the callee. */
  store(row: string, col: string, v: string): string;
}

/** Writes the body of a product's kernel: by productBody on vector units, or a backend's own. */
export type ProductBody = (s: Shader, p: Product) => string;

/** The body of the kernel on vector units. The texts see `tile_row` and `tile_col`, the workgroup's tile. */
export function productBody(s: Shader, p: Product): string {
  const { tile: t } = p;
  const threads = t.rows * t.columns;
  const kq = t.k / 4;
  const nq = t.n / 4;
  const perRow = t.m / t.rows;
  const perCol = nq / t.columns;
  s.shared('tile_a', 'vec4<f32>', t.m * kq);
  s.shared('tile_b', 'vec4<f32>', t.k * nq);

  const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
  const left = loader(s, p.a, cellsOfA(t, p.a, threads));
  const right = loader(s, p.b, cellsOfB(t, p.b, threads));
  const inner = [
    ...range(4).flatMap((q) =>
      range(perCol).map(
        (j) => `let b${q}_${j} = tile_b[(kk * 4u + ${q}u) * ${nq}u + tx + ${j * t.columns}u];`,
      ),
    ),
    ...range(perRow).flatMap((i) => [
      `let a_${i} = tile_a[(ty + ${i * t.rows}u) * ${kq}u + kk];`,
      ...range(perCol).flatMap((j) =>
        ['x', 'y', 'z', 'w'].map(
          (c, q) => `c${i}_${j} = fma(vec4<f32>(a_${i}.${c}), b${q}_${j}, c${i}_${j});`,
        ),
      ),
    ]),
  ];
  const accumulators = range(perRow).flatMap((i) => range(perCol).map((j) => `c${i}_${j}`));
  return `let tx = tid % ${t.columns}u;
  let ty = tid / ${t.columns}u;
  let row0 = tile_row * ${t.m}u;
  let col0 = tile_col * ${t.n}u;
  ${left.setup} ${right.setup}
  ${accumulators.map((c) => `var ${c} = vec4<f32>();`).join(' ')}
  ${p.taps ?? '{'}
  ${left.tap} ${right.tap}
  for (var k0 = 0u; k0 < ${p.k}; k0 += ${t.k}u) {
    ${left.loads}
    ${right.loads}
    workgroupBarrier();
    for (var kk = 0u; kk < ${kq}u; kk++) {
      ${inner.join('\n      ')}
    }
    workgroupBarrier();
  }
  }
  // One store text in a loop instead of one for each accumulator: epilogues are long. GPUs write the loop out, since
  // registers have no index; software devices would only compile longer.
  var results = array<vec4<f32>, ${perRow * perCol}>(${accumulators.join(', ')});
  for (var r = 0u; r < ${s.traits.unroll ? `${perRow * perCol}u` : s.u32('results', perRow * perCol)}; r++) {
    let row = row0 + ty + (r / ${perCol}u) * ${t.rows}u;
    let col = col0 + (tx + (r % ${perCol}u) * ${t.columns}u) * 4u;
    if (row < ${p.m} && col < ${p.n}) { ${p.store('row', 'col', 'results[r]')} }
  }`;
}
