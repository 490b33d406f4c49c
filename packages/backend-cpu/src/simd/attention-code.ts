// The code of attention.ts: one tile is a block of queries of one head, against all keys, a block of them at a time.

import type { DType } from '@darkroom/core';
import { beginEmission, keyBlock, panel, tile } from './attention-emission.ts';
import type { Emission, Kind, Parts } from './attention-emission.ts';
import { emitPanel, emitResult } from './attention-panel.ts';
import type { FunctionBuilder } from './emitter.ts';

/** Emits the function of one tile: its parameters are the arguments' address, the tile's number and scratch memory. */
export function emitAttention(
  f: FunctionBuilder,
  kind: Kind,
  parts: Parts,
  outType: DType,
  relaxed: boolean,
): void {
  const c = beginEmission(f, kind, parts, outType, relaxed);
  const { arg, first, rows, key, end, p, at } = c;
  locate(c);
  packQueries(c);
  arg('keys');
  f.set(end);
  if (kind === 'causal') {
    // No query of this block sees the keys after its last query.
    f.get(first)
      .get(rows)
      .op('i32.add')
      .tee(at)
      .get(end)
      .get(at)
      .get(end)
      .op('i32.lt_u')
      .op('select')
      .set(end);
  }
  f.i32(0).set(key);
  f.for(key, end, keyBlock, () => {
    packKeysAndValues(c);
    f.i32(0).set(p);
    f.for(p, rows, tile.nr, () => {
      if (kind === 'causal') {
        f.get(key)
          .get(first)
          .get(p)
          .op('i32.add')
          .i32(tile.nr)
          .op('i32.add')
          .op('i32.lt_u')
          .if(() => emitPanel(c));
      } else emitPanel(c);
    });
  });

  f.i32(0).set(p);
  f.for(p, rows, tile.nr, () => emitResult(c));
}

/** Computes the tile's head, block of queries and addresses in scratch memory. */
function locate(c: Emission): void {
  const { f, arg, place, least, index, scratch, q, k, v, mask, out, batch, first, rows, end, size, padded } =
    c;
  const { blockSize, scores, highest, total, lines, qPack, acc, kPack, vPack } = c;
  arg('batches');
  f.get(index);
  arg('blocks');
  f.op('i32.div_u').i32(20).op('i32.mul').op('i32.add').set(batch);
  const names = ['q', 'k', 'v', 'mask', 'out'] as const;
  [q, k, v, mask, out].forEach((local, n) => {
    arg(names[n]!);
    f.get(batch)
      .mem('i32.load', 4 * n)
      .op('i32.add')
      .set(local);
  });
  arg('block');
  f.set(blockSize).get(index);
  arg('blocks');
  f.op('i32.rem_u').get(blockSize).op('i32.mul').set(first);
  arg('queries');
  f.set(end);
  least(end, first, blockSize);
  f.set(rows);
  arg('size');
  f.set(size);
  arg('padded');
  f.set(padded).get(scratch).set(scores);
  place(highest, scores, keyBlock * panel);
  place(total, highest, blockSize, 4);
  place(lines, total, blockSize, 4);
  f.get(size)
    .i32(3)
    .op('i32.add')
    .i32(-4)
    .op('i32.and')
    .i32(panel)
    .op('i32.mul')
    .get(lines)
    .op('i32.add')
    .set(qPack);
  place(acc, qPack, blockSize, size, 4);
  place(kPack, acc, blockSize, padded, 4);
  place(vPack, kPack, size, 4 * keyBlock);
}

/** Queries: packed, then scaled. Sums, maxima and totals: cleared. */
function packQueries(c: Emission): void {
  const {
    f,
    arg,
    place,
    least,
    parts,
    q,
    first,
    rows,
    size,
    padded,
    qPack,
    acc,
    total,
    highest,
    p,
    i,
    source,
  } = c;
  f.i32(0).set(p);
  f.for(p, rows, tile.nr, () => {
    f.get(q).get(first).get(p).op('i32.add');
    arg('qRow');
    f.op('i32.mul').op('i32.add');
    arg('qRow');
    arg('qStep');
    least(rows, p, tile.nr);
    f.get(size);
    place(source, qPack, p, size, 4);
    f.get(source).call(parts.packQ);
  });
  const scale = f.local('v128');
  arg('scale');
  f.op('f32.reinterpret_i32').op('f32x4.splat').set(scale);
  place(source, qPack, p, size, 4); // p: rows, rounded up
  f.get(qPack).set(i);
  f.for(
    i,
    source,
    16,
    () => void f.get(i).get(i).mem('v128.load').get(scale).op('f32x4.mul').mem('v128.store'),
  );
  f.get(acc).i32(0).get(p).get(padded).op('i32.mul').i32(4).op('i32.mul').fill();
  f.get(total).i32(0).get(p).i32(4).op('i32.mul').fill();
  f.get(highest).set(i);
  f.for(i, total, 16, () => void f.get(i).f32x4(-Infinity).mem('v128.store'));
}

/** Packs the block of keys that begins at `key`, and its values. */
function packKeysAndValues(c: Emission): void {
  const { f, arg, place, least, parts, k, v, key, end, columns, size, kPack, vPack, i, source } = c;
  least(end, key, keyBlock);
  f.set(columns).i32(0).set(i);
  f.for(i, columns, tile.mr, () => {
    f.get(k).get(key).get(i).op('i32.add');
    arg('kRow');
    f.op('i32.mul').op('i32.add');
    arg('kRow');
    arg('kStep');
    least(columns, i, tile.mr);
    place(source, kPack, i, size, 4);
    f.get(size).get(source).call(parts.packK);
  });
  f.i32(0).set(i);
  f.for(i, size, tile.mr, () => {
    f.get(v).get(key);
    arg('vRow');
    f.op('i32.mul').op('i32.add').get(i);
    arg('vStep');
    f.op('i32.mul').op('i32.add');
    arg('vStep');
    arg('vRow');
    least(size, i, tile.mr);
    place(source, vPack, i, columns, 4);
    f.get(columns).get(source).call(parts.packV);
  });
}
