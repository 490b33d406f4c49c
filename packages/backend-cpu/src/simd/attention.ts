// Attention with online softmax (Milakov & Gimelshein 2018; Dao et al. 2022), so the score matrix never exists.
// Scores are computed transposed, keys down and eight queries across: maxima and sums then run down the lanes, and
// the probabilities already lie as a packed panel of the second product. Any float dtype; any stride along the head
// dimension of q, k and v. The code is in attention-code.ts.

import type { DType } from '@darkroom/core';
import { emitAttention } from './attention-code.ts';
import { keyBlock, panel, tile } from './attention-emission.ts';
import type { Kind, Parts } from './attention-emission.ts';
import { sizeOf } from './elements.ts';
import type { FunctionBuilder } from './emitter.ts';
import type { Engine } from './engine.ts';
import { addMicroKernel, addPack } from './micro.ts';

interface Each<T> {
  readonly q: T;
  readonly k: T;
  readonly v: T;
  readonly out: T;
}

/** Strides in elements; `batches` are element offsets [q, k, v, mask, out] of each head. */
export interface AttentionSpec {
  readonly queries: number;
  readonly keys: number;
  readonly size: number;
  readonly scale: number;
  readonly rows: Each<number>;
  /** Strides along the head dimension; default 1. The output's is always 1. */
  readonly steps?: Omit<Each<number>, 'out'>;
  /** Default float32. The mask is float32. */
  readonly dtypes?: Each<DType>;
  readonly mask: 'none' | 'causal' | { readonly row: number; readonly column: number };
  readonly batches: readonly (readonly [number, number, number, number, number])[];
}

export interface PreparedAttention {
  run(q: number, k: number, v: number, mask: number, out: number): void;
}

const up = (n: number, to: number): number => Math.ceil(n / to) * to;

export function prepareAttention(engine: Engine, s: AttentionSpec): PreparedAttention {
  const { queries, keys, size, rows, mask, batches } = s;
  if (queries === 0 || size === 0 || batches.length === 0) return { run() {} };
  const kind: Kind = typeof mask === 'object' ? 'additive' : mask;
  const dtypes = s.dtypes ?? { q: 'float32', k: 'float32', v: 'float32', out: 'float32' };
  const steps = s.steps ?? { q: 1, k: 1, v: 1 };
  const key = `attention/transposed ${kind} ${Object.values(dtypes).join()} ${engine.relaxed}`;
  const code = engine.code(key, (module) => {
    const parts: Parts = {
      micro: addMicroKernel(module, tile, engine.relaxed),
      packQ: addPack(module, dtypes.q, tile.nr),
      packK: addPack(module, dtypes.k, tile.mr),
      packV: addPack(module, dtypes.v, tile.mr),
    };
    const build = (f: FunctionBuilder): void => emitAttention(f, kind, parts, dtypes.out, engine.relaxed);
    module.add(['i32', 'i32', 'i32'], build, 'tile');
  });
  const padded = up(size, tile.mr);
  // Many queries share a packing of the keys; q and its sums should stay in the second-level cache, threads be busy.
  const share = engine.threads === 1 ? queries : Math.ceil((queries * batches.length) / (4 * engine.threads));
  const cached = Math.min(256, Math.max(64, Math.floor(65536 / size)));
  const block = up(Math.min(queries, cached, Math.max(share, 32)), tile.nr);
  engine.reserveScratch(
    keyBlock * panel + 8 * block + 4 * tile.nr * up(size, 4) + 4 * (block + keyBlock) * (size + padded) + 64,
  );
  const blocks = Math.ceil(queries / block);
  const bytes = [dtypes.q, dtypes.k, dtypes.v, 'float32' as const, dtypes.out].map((d) => sizeOf[d]);
  const table = engine.table(batches.flatMap((offsets) => offsets.map((o, i) => o * bytes[i]!)));
  // In powers of two rather than e: the scores are scaled once anyway.
  const scale = new Int32Array(new Float32Array([s.scale * Math.LOG2E]).buffer)[0]!;
  const [maskRow, maskColumn] = typeof mask === 'object' ? [mask.row, mask.column] : [0, 0];
  const [bq, bk, bv, , bo] = bytes as [number, number, number, number, number];
  const args = new Float64Array([
    0, 0, 0, 0, 0, queries, keys, size, rows.q * bq, rows.k * bk, rows.v * bv, rows.out * bo, maskRow * 4,
    maskColumn * 4, scale, table, blocks, padded, block, steps.q * bq, steps.k * bk, steps.v * bv,
  ]); // prettier-ignore
  const work = 4 * queries * keys * size * batches.length;
  return {
    run(...pointers) {
      pointers.forEach((p, i) => (args[i] = p));
      engine.run(code, args, blocks * batches.length, work);
    },
  };
}
