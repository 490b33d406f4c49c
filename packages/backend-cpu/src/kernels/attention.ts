// attention on the SIMD kernel; arguments that it cannot read are copied to dense float32 for the run.

import { layoutOf } from '@darkroom/core/backend';
import type { ArgSpec, AttentionOp } from '@darkroom/core/backend';
import { prepareAttention } from '../simd/attention.ts';
import { broadcast, isDense, withDense } from './kernel.ts';
import type { Factory } from './kernel.ts';
import { areFloats, offsets } from './shared/product.ts';

type Four = readonly [number, number, number, number];

export const attentionFactory: Factory<AttentionOp> = {
  choices: (_, args) => (areFloats(args) ? ['simd/online'] : []),
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
