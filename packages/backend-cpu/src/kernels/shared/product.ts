// Shared by matmul and conv2d: choices of tiles, and the epilogue as one pointwise sweep over the fresh result.

import { isFloat } from '@darkroom/core';
import type { Expr } from '@darkroom/core';
import type { ArgSpec } from '@darkroom/core/backend';
import type { Engine } from '../../simd/engine.ts';
import { supportedExpr } from '../../simd/map-expression.ts';
import { prepareMap } from '../../simd/map.ts';
import type { Tile } from '../../simd/micro.ts';
import { calledAs } from '../../simd/packing.ts';
import type { Packable } from '../../simd/packing.ts';
import { tiles } from '../../simd/product.ts';
import type { ProductRun } from '../../simd/product.ts';
import { broadcast, operand } from '../kernel.ts';
import type { Run } from '../kernel.ts';

/** True if every argument is of a float dtype. */
export const areFloats = (args: readonly ArgSpec[]): boolean => args.every((a) => isFloat(a.dtype));
const tileId = (t: Tile): string => `simd/${t.mr}x${t.nr}`;
/** The tile of a choice. */
export const tileOf = (choice: string): Tile => tiles.find((t) => tileId(t) === choice)!;

/** Runs `product` into the output, or into a float32 temporary when it is narrower, then the epilogue or the cast. */
export function withEpilogue(
  engine: Engine,
  expr: Expr | undefined,
  args: readonly ArgSpec[],
  product: Packable<ProductRun>,
): Packable<Run> {
  const out = args.at(-1)!;
  const inPlace = out.dtype === 'float32';
  if (inPlace && expr === undefined) return calledAs(product, (run) => (p) => run(p[0]!, p[1]!, p.at(-1)!));
  const { shape } = out.layout;
  const acc = { dtype: 'float32', strides: out.layout.strides } as const;
  const extra = args.slice(2, -1);
  const finish = prepareMap(engine, {
    expr: expr ?? ['in', 0],
    shape,
    inputs: [acc, ...extra.map((e) => broadcast(e, shape))],
    output: operand(out),
  })!;
  const bytes = 4 * shape.reduce((a, b) => a * b, 1);
  return calledAs(product, (run) => (p) => {
    const to = inPlace ? p.at(-1)! : engine.alloc(bytes);
    run(p[0]!, p[1]!, to);
    finish.run([to, ...p.slice(2, -1), p.at(-1)!], []);
    if (!inPlace) engine.free(to);
  });
}

/** Choices for a product that ends in `expr`: ids of tiles; none where the map kernel cannot run the epilogue. */
export function productChoices(expr: Expr | undefined, args: readonly ArgSpec[]): readonly string[] {
  const fits = areFloats(args) && args.length <= 8 && (expr === undefined || supportedExpr(expr));
  return fits && args.at(-1)!.layout.shape.length <= 5 ? tiles.map(tileId) : [];
}

/** Element offset of every coordinate of `shape`, in row-major order. */
export function offsets(shape: readonly number[], strides: readonly number[]): number[] {
  let out = [0];
  shape.forEach(
    (d, i) => (out = out.flatMap((o) => Array.from({ length: d }, (_, x) => o + x * strides[i]!))),
  );
  return out;
}
