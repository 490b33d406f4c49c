// matmul on the tiled product: any strides, any batch dimensions (broadcast ones too), fused epilogue.

import { elementCount } from '@darkroom/core/backend';
import type { Layout } from '@darkroom/core';
import type { ArgSpec, MatmulOp } from '@darkroom/core/backend';
import { Shader } from '../text/shader.ts';
import type { Traits } from '../text/dispatch.ts';
import type { Access } from '../text/access.ts';
import { broadcastStrides } from './shared/dimensions.ts';
import { resultStore } from './shared/epilogue.ts';
import { usesIndex } from './shared/expressions.ts';
import type { KernelFactory, KernelSpec } from './kernel.ts';
import { productBody } from './shared/product.ts';
import type { ProductBody } from './shared/product.ts';
import type { Operand } from './shared/product-loader.ts';
import { productChoices, tileOf } from './shared/tiles.ts';
import type { ProductSize, Tile } from './shared/tiles.ts';

/** The batch part of a matrix stack, seen from the output's batch dimensions. */
function batchStrides(layout: Layout, batch: readonly number[]): number[] {
  const own: Layout = { ...layout, shape: layout.shape.slice(0, -2), strides: layout.strides.slice(0, -2) };
  return broadcastStrides(own, batch);
}

/** Four elements along the last index of `at`, each zero where `inside` says so. */
function gather4(x: Access, at: (i: number) => string, inside: (i: number) => string | undefined): string {
  const lane = (i: number): string => x.getIf(at(i), inside(i) ?? 'true');
  return `vec4<f32>(${[0, 1, 2, 3].map(lane).join(', ')})`;
}

/** The size of a matmul as a product: m × n by k, for every matrix of the batch. */
export function matmulSize(args: readonly ArgSpec[]): ProductSize {
  const { shape } = args.at(-1)!.layout;
  const [m, n] = shape.slice(-2) as [number, number];
  return { m, n, k: args[0]!.layout.shape.at(-1)!, stacks: elementCount(shape.slice(0, -2)) };
}

/**
 * matmul by workgroups of `tile`, whose body `body` writes: productBody, or a backend's own. `wide` as in
 * KernelFactory.
 */
// eslint-disable-next-line max-lines-per-function -- one kernel's text, read from top to bottom
export function tiledMatmul(
  op: MatmulOp,
  args: readonly ArgSpec[],
  tile: Tile,
  traits: Traits,
  wide: boolean,
  body: ProductBody = productBody,
): KernelSpec {
  const [a, b] = [args[0]!.layout, args[1]!.layout];
  const out = args.at(-1)!.layout;
  if (elementCount(out.shape) === 0) return { dispatches: [] };
  const [m, n] = out.shape.slice(-2) as [number, number];
  const k = a.shape.at(-1)!;
  const batch = out.shape.length > 2 ? out.shape.slice(0, -2) : [1];
  const strides = [a, b, out].map((l) => (out.shape.length > 2 ? batchStrides(l, batch) : [0]));
  const [am, ak] = a.strides.slice(-2) as [number, number];
  const [bk, bn] = b.strides.slice(-2) as [number, number];
  const [om, on] = out.strides.slice(-2) as [number, number];
  const fours = (
    l: Layout,
    inner: number,
    other: number,
    size: number,
    batches: readonly number[],
  ): boolean =>
    wide &&
    inner === 1 &&
    size % 4 === 0 &&
    (other % 4 === 0 || l.shape.length < 2) &&
    batches.every((s) => s % 4 === 0);
  const wideA = fours(a, ak, am, k, strides[0]!);
  const wideB = fours(b, bn, bk, n, strides[1]!);
  const exact = k % tile.k === 0;

  const s = new Shader(traits, `matmul/${tile.id}`, args);
  const [x, w] = [s.read(0, wideA ? 4 : 1), s.read(1, wideB ? 4 : 1)];
  const [M, N, K] = [s.u32('m', m), s.u32('n', n), s.u32('k', k)];
  const perA = s.u32('am', wideA ? am / 4 : am);
  const perK = wideA ? '' : s.u32('ak', ak);
  const perB = s.u32('bk', wideB ? bk / 4 : bk);
  const perN = wideB ? '' : s.u32('bn', bn);
  const quad = (list: readonly number[], width: boolean): number[] => list.map((v) => (width ? v / 4 : v));

  // Rows and columns past the edge read the last one; what they compute is not stored.
  const left: Operand = {
    along: ak <= am ? 'k' : 'other',
    cheap: true,
    setup: (slot, row) => `let ${slot} = base_a + min(${row}, ${M} - 1u) * ${perA};`,
    load: (slot, at) => {
      if (wideA) {
        return x.getIf(`${slot} + ${at} / 4u`, exact ? 'true' : `${at} < ${K}`);
      }
      return gather4(
        x,
        (i) => `${slot} + (${at} + ${i}u) * ${perK}`,
        (i) => (exact ? undefined : `${at} + ${i}u < ${K}`),
      );
    },
  };
  const right: Operand = {
    along: bk < bn ? 'k' : 'other',
    cheap: true,
    setup: (slot, col) =>
      wideB
        ? `let ${slot} = base_b + min(${col}, ${N} - 1u) / 4u;`
        : `let ${slot} = base_b; let ${slot}_c = min(vec4<u32>(${col}) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(${N} - 1u)) * ${perN};`,
    load: (slot, at) => {
      if (wideB) {
        return w.getIf(`${slot} + ${at} * ${perB}`, exact ? 'true' : `${at} < ${K}`);
      }
      return gather4(
        w,
        (i) => `${slot} + ${at} * ${perB} + ${slot}_c[${i}]`,
        () => (exact ? undefined : `${at} < ${K}`),
      );
    },
  };
  const rank = batch.length;
  const shape = [...batch, m, n];
  const store = resultStore(s, args, {
    expr: op.epilogue,
    axis: rank + 1,
    run: n,
    strides: [
      ...args.slice(2, -1).map((extra) => broadcastStrides(extra.layout, shape)),
      [...strides[2]!, om, on],
    ],
    wide,
    coordinate: (col) => col,
    rest: (col) => `${N} - ${col}`,
    others: (row) => `let o${rank} = ${row};`,
  });
  const tilesM = Math.ceil(m / tile.m);
  const tilesN = Math.ceil(n / tile.n);
  const text = `let tile_col = group % ${s.u32('tiles_n', tilesN)};
  let tile_row = group / ${s.u32('tiles_n', tilesN)} % ${s.u32('tiles_m', tilesM)};
  let stack = group / ${s.u32('tiles', tilesN * tilesM)};
  ${s.decode('o', 'stack', batch)}
  let base_a = ${s.dot('base_a', 'o', quad(strides[0]!, wideA))};
  let base_b = ${s.dot('base_b', 'o', quad(strides[1]!, wideB))};
  ${body(s, { tile, m: M, n: N, k: K, a: left, b: right, store })}`;
  return { dispatches: [s.dispatch(tile.rows * tile.columns, tilesM * tilesN * elementCount(batch), text)] };
}

/** matmul on vector units. */
export const matmul: KernelFactory<MatmulOp> = {
  choices(op, args, traits) {
    if (args.length > traits.bindings || (op.epilogue && usesIndex(op.epilogue))) return [];
    return productChoices(matmulSize(args), traits);
  },
  prepare: (op, args, choice, traits, wide) => tiledMatmul(op, args, tileOf(choice), traits, wide),
};
