// matmul, conv2d and attention on the SIMD products. Epilogues run as one pointwise pass over the fresh result.

import { isFloat, layoutOf, reshapeLayout } from '@darkroom/core';
import type { ArgSpec, AttentionOp, Conv2dOp, Expr, MatmulOp } from '@darkroom/core';
import { prepareAttention } from '../simd/attention.ts';
import { prepareConv } from '../simd/convolution.ts';
import type { ConvSpec } from '../simd/convolution.ts';
import type { Engine } from '../simd/engine.ts';
import { prepareMap, supportedExpr } from '../simd/map.ts';
import { prepareWinograd, winogradFits } from '../simd/winograd.ts';
import { calledAs } from '../simd/packing.ts';
import type { Packable } from '../simd/packing.ts';
import { prepareProduct, tiles } from '../simd/product.ts';
import type { ProductRun, ProductSpec } from '../simd/product.ts';
import type { Tile } from '../simd/micro.ts';
import { broadcast, isDense, operand, withDense } from './kernel.ts';
import type { Factory, Run } from './kernel.ts';

const floats = (args: readonly ArgSpec[]): boolean => args.every((a) => isFloat(a.dtype));
const tileId = (t: Tile): string => `simd/${t.mr}x${t.nr}`;
const tileOf = (choice: string): Tile => tiles.find((t) => tileId(t) === choice)!;

/** Runs `product` into the output, or into a float32 temporary when it is narrower, then the epilogue or the cast. */
function withEpilogue(
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

function productChoices(expr: Expr | undefined, args: readonly ArgSpec[]): readonly string[] {
  const fits = floats(args) && args.length <= 8 && (expr === undefined || supportedExpr(expr));
  return fits && args.at(-1)!.layout.shape.length <= 5 ? tiles.map(tileId) : [];
}

export const matmulFactory: Factory<MatmulOp> = {
  choices: (op, args) => productChoices(op.epilogue, args),
  prepare(engine, op, args, choice) {
    const product = prepareProduct(engine, matmulSpec(args[0]!, args[1]!, args.at(-1)!), tileOf(choice));
    return withEpilogue(engine, op.epilogue, args, product);
  },
};

function matmulSpec(a: ArgSpec, b: ArgSpec, c: ArgSpec): ProductSpec {
  const shape = c.layout.shape;
  const [m, n, k] = [shape.at(-2)!, shape.at(-1)!, a.layout.shape.at(-1)!];
  const common = {
    n,
    k,
    weight: 'b',
    b: { dtype: b.dtype, k: b.layout.strides.at(-2)!, column: b.layout.strides.at(-1)! },
  } as const;
  // One weight for a batch of rows is one larger product, when the rows lie evenly.
  const flatRows =
    b.layout.shape.length === 2
      ? reshapeLayout(
          { ...a.layout, offset: 0 },
          [-1, k].map((d, i) => (i === 0 ? a.layout.shape.slice(0, -1).reduce((x, y) => x * y, 1) : d)),
        )
      : undefined;
  const flatOut = reshapeLayout({ ...c.layout, offset: 0 }, [
    shape.slice(0, -1).reduce((x, y) => x * y, 1),
    n,
  ]);
  if (flatRows && flatOut) {
    return {
      ...common,
      m: flatRows.shape[0]!,
      a: { dtype: a.dtype, row: flatRows.strides[0]!, k: flatRows.strides[1]! },
      c: { row: flatOut.strides[0]!, column: flatOut.strides[1]! },
      batches: [[0, 0, 0]],
    };
  }
  const batch = shape.slice(0, -2);
  const walk = (x: ArgSpec): number[] => {
    const outer = {
      dtype: x.dtype,
      layout: { shape: x.layout.shape.slice(0, -2), strides: x.layout.strides.slice(0, -2), offset: 0 },
    };
    return offsets(batch, broadcast(outer, batch).strides);
  };
  const [ao, bo, co] = [walk(a), walk(b), walk(c)];
  return {
    ...common,
    m,
    a: { dtype: a.dtype, row: a.layout.strides.at(-2)!, k: a.layout.strides.at(-1)! },
    c: { row: c.layout.strides.at(-2)!, column: c.layout.strides.at(-1)! },
    batches: ao.map((x, i) => [x, bo[i]!, co[i]!] as const),
  };
}

/** Element offset of every coordinate of `shape`, in row-major order. */
function offsets(shape: readonly number[], strides: readonly number[]): number[] {
  let out = [0];
  shape.forEach(
    (d, i) => (out = out.flatMap((o) => Array.from({ length: d }, (_, x) => o + x * strides[i]!))),
  );
  return out;
}

type Four = readonly [number, number, number, number];

const winograd = 'simd/winograd';

function convSpec(op: Conv2dOp, args: readonly ArgSpec[]): ConvSpec {
  const of = (a: ArgSpec): ConvSpec['x'] => ({
    dtype: a.dtype,
    shape: a.layout.shape as unknown as Four,
    strides: a.layout.strides,
  });
  return { ...op, x: of(args[0]!), weight: of(args[1]!), y: of(args.at(-1)!) };
}

export const conv2dFactory: Factory<Conv2dOp> = {
  choices(op, args) {
    const ids = productChoices(op.epilogue, args);
    if (ids.length === 0) return ids;
    // Register blocks that do not cross image rows are packed by vectors: prefer a width that divides the row.
    const width = args.at(-1)!.layout.shape[3]!;
    const divides = (id: string): boolean => width % tileOf(id).nr === 0;
    const direct = ids.toSorted((a, b) => Number(divides(b)) - Number(divides(a)));
    return winogradFits(convSpec(op, args)) ? [winograd, ...direct] : direct;
  },
  prepare(engine, op, args, choice) {
    const spec = convSpec(op, args);
    const conv =
      choice === winograd
        ? prepareWinograd(engine, spec, tiles[0]!)
        : prepareConv(engine, spec, tileOf(choice));
    return withEpilogue(engine, op.epilogue, args, conv);
  },
};

export const attentionFactory: Factory<AttentionOp> = {
  choices: (_, args) => (floats(args) ? ['simd/online'] : []),
  prepare(engine, op, args) {
    const out = args.length - 1;
    // q, k, v and the output need neighbours along d in float32; the mask any strides in float32.
    const rowsOk = (a: ArgSpec): boolean =>
      a.dtype === 'float32' && (a.layout.strides[3] === 1 || a.layout.shape[3] === 1);
    const needs = args.map((a, i) =>
      i < 3 || i === out ? !rowsOk(a) : a.dtype !== 'float32' || (!isDense(a) && a.layout.shape.length > 4),
    );
    const seen = args.map((a, i): ArgSpec =>
      needs[i] ? { dtype: 'float32', layout: layoutOf(a.layout.shape) } : a,
    );
    const [q, k, v] = seen as [ArgSpec, ArgSpec, ArgSpec];
    const y = seen[out]!;
    const [b, heads, queries, size] = q.layout.shape as Four;
    const keys = k.layout.shape[2]!;
    const mask = op.mask === 'additive' ? broadcast(seen[3]!, [b, heads, queries, keys]).strides : undefined;
    const walk = (strides: readonly number[]): number[] => offsets([b, heads], strides.slice(0, 2));
    const parts = [q, k, v].map((t) => walk(t.layout.strides));
    const [maskAt, outAt] = [walk(mask ?? [0, 0]), walk(y.layout.strides)];
    const prepared = prepareAttention(engine, {
      queries,
      keys,
      size,
      scale: op.scale,
      rows: {
        q: q.layout.strides[2]!,
        k: k.layout.strides[2]!,
        v: v.layout.strides[2]!,
        out: y.layout.strides[2]!,
      },
      mask: mask ? { row: mask[2]!, column: mask[3]! } : (op.mask as 'none' | 'causal'),
      batches: outAt.map((o, i) => [parts[0]![i]!, parts[1]![i]!, parts[2]![i]!, maskAt[i]!, o] as const),
    });
    return withDense(engine, args, needs, (p) =>
      prepared.run(p[0]!, p[1]!, p[2]!, mask ? p[3]! : 0, p[out]!),
    );
  },
};
