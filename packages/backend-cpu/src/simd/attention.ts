// Attention with online softmax (Milakov & Gimelshein 2018; Dao et al. 2022): a block of queries walks over blocks
// of keys, so the score matrix never exists. float32; elements along the head dimension are neighbours.

import type { FunctionBuilder, Local } from './emitter.ts';
import type { Engine } from './engine.ts';
import { addMicroKernel, addPack } from './micro.ts';
import { acrossLanes } from './row-loop.ts';
import { exp } from './vector-math.ts';

/** Strides in elements; `batches` are element offsets [q, k, v, mask, out] of each head. */
export interface AttentionSpec {
  readonly queries: number;
  readonly keys: number;
  readonly size: number;
  readonly scale: number;
  readonly rows: { readonly q: number; readonly k: number; readonly v: number; readonly out: number };
  readonly mask: 'none' | 'causal' | { readonly row: number; readonly column: number };
  readonly batches: readonly (readonly [number, number, number, number, number])[];
}

export interface PreparedAttention {
  run(q: number, k: number, v: number, mask: number, out: number): void;
}

const tile = { mr: 4, nr: 8, kc: 0, mc: 0 };
const queryBlock = 64;
const keyBlock = 64;
const word = {
  q: 0, k: 1, v: 2, mask: 3, out: 4, queries: 5, keys: 6, size: 7, qRow: 8, kRow: 9, vRow: 10, outRow: 11, maskRow: 12, maskColumn: 13,
  scale: 14, batches: 15, blocks: 16, padded: 17,
} as const; // prettier-ignore

export function prepareAttention(engine: Engine, s: AttentionSpec): PreparedAttention {
  const { queries, keys, size, rows, mask, batches } = s;
  if (queries === 0 || size === 0 || batches.length === 0) return { run() {} };
  const kind = typeof mask === 'object' ? 'additive' : mask;
  const code = engine.code(`attention ${kind} ${engine.relaxed}`, (module) => {
    const micro = addMicroKernel(module, tile, engine.relaxed);
    const packRows = addPack(module, 'float32', tile.mr);
    const packColumns = addPack(module, 'float32', tile.nr);
    module.add(
      ['i32', 'i32', 'i32'],
      (f) => emitAttention(f, kind, { micro, packRows, packColumns }),
      'tile',
    );
  });
  const padded = Math.ceil(size / 8) * 8;
  engine.reserveScratch(
    4 *
      (queryBlock * size +
        keyBlock * padded * 2 +
        queryBlock * keyBlock * 2 +
        queryBlock * padded +
        2 * queryBlock) +
      1024,
  );
  const blocks = Math.ceil(queries / queryBlock);
  const table = engine.table(batches.flatMap((offsets) => offsets.map((o) => o * 4)));
  const scale = new Int32Array(new Float32Array([s.scale]).buffer)[0]!;
  const [maskRow, maskColumn] = typeof mask === 'object' ? [mask.row, mask.column] : [0, 0];
  const args = new Float64Array([
    0, 0, 0, 0, 0, queries, keys, size, rows.q * 4, rows.k * 4, rows.v * 4, rows.out * 4, maskRow * 4, maskColumn * 4,
    scale, table, blocks, padded,
  ]); // prettier-ignore
  const work = 4 * queries * keys * size * batches.length;
  return {
    run(...pointers) {
      pointers.forEach((p, i) => (args[i] = p));
      engine.run(code, args, blocks * batches.length, work);
    },
  };
}

interface Parts {
  readonly micro: number;
  readonly packRows: number;
  readonly packColumns: number;
}

function emitAttention(f: FunctionBuilder, kind: 'none' | 'causal' | 'additive', parts: Parts): void {
  const [args, index, scratch] = f.params as [Local, Local, Local];
  const arg = (w: keyof typeof word): void => void f.get(args).mem('i32.load', word[w] * 4);
  const i32 = (): Local => f.local('i32');
  const v128 = (): Local => f.local('v128');
  const [q, k, v, mask, out, batch, first, rows, columns, key] = [
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
  ];
  const [qPack, kPack, vPack, scores, pPack, acc, highest, total] = [
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
  ];
  const [i, j, p, panel, left, depth, padded, accRow] = [
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
  ];
  const scale = v128();

  // Which head, which block of queries.
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
  f.get(index);
  arg('blocks');
  f.op('i32.rem_u').i32(queryBlock).op('i32.mul').set(first);
  arg('queries');
  f.get(first)
    .op('i32.sub')
    .tee(rows)
    .i32(queryBlock)
    .get(rows)
    .i32(queryBlock)
    .op('i32.lt_u')
    .op('select')
    .set(rows);
  arg('size');
  f.set(depth);
  arg('padded');
  f.set(padded);
  arg('scale');
  f.op('f32.reinterpret_i32').op('f32x4.splat').set(scale);
  const advance = (base: Local, local: Local, push: () => void): void => {
    f.get(base);
    push();
    f.op('i32.add').set(local);
  };
  f.get(scratch).set(scores);
  advance(scores, pPack, () => void f.i32(4 * queryBlock * keyBlock));
  advance(pPack, highest, () => void f.i32(4 * queryBlock * keyBlock));
  advance(highest, total, () => void f.i32(4 * queryBlock));
  advance(total, qPack, () => void f.i32(4 * queryBlock));
  advance(
    qPack,
    kPack,
    () =>
      void f
        .get(depth)
        .i32(4 * queryBlock)
        .op('i32.mul'),
  );
  advance(
    kPack,
    vPack,
    () =>
      void f
        .get(padded)
        .i32(4 * keyBlock)
        .op('i32.mul'),
  );
  advance(
    vPack,
    acc,
    () =>
      void f
        .get(padded)
        .i32(4 * keyBlock)
        .op('i32.mul'),
  );
  f.get(padded).i32(2).op('i32.shl').set(accRow);

  const minimum = (a: () => void, b: number): void => {
    a();
    f.set(left).get(left).i32(b).get(left).i32(b).op('i32.lt_u').op('select').set(left);
  };
  /** Packs `lanes` rows at `from` (row stride bytes from an argument) with `depthLocal` neighbours each. */
  const packAll = (
    pack: number,
    width: number,
    from: () => void,
    count: Local,
    rowStride: () => void,
    kStride: () => void,
    lanesDepth: Local,
    to: Local,
    laneStep: () => void,
  ): void => {
    f.get(to).set(panel).i32(0).set(i);
    f.for(i, count, width, () => {
      from();
      f.get(i);
      laneStep();
      f.op('i32.mul').op('i32.add');
      rowStride();
      kStride();
      minimum(() => void f.get(count).get(i).op('i32.sub'), width);
      f.get(left).get(lanesDepth).get(panel).call(pack);
      f.get(panel)
        .get(lanesDepth)
        .i32(4 * width)
        .op('i32.mul')
        .op('i32.add')
        .set(panel);
    });
  };

  packAll(
    parts.packRows,
    4,
    () => {
      f.get(q).get(first);
      arg('qRow');
      f.op('i32.mul').op('i32.add');
    },
    rows,
    () => arg('qRow'),
    () => void f.i32(4),
    depth,
    qPack,
    () => arg('qRow'),
  );
  f.get(acc).i32(0).get(accRow).i32(queryBlock).op('i32.mul').fill();
  f.get(total)
    .i32(0)
    .i32(4 * queryBlock)
    .fill();
  f.i32(0).set(i);
  f.for(
    i,
    queryBlock,
    1,
    () => void f.get(highest).get(i).i32(2).op('i32.shl').op('i32.add').f32(-Infinity).mem('f32.store'),
  );

  f.i32(0).set(key);
  const end = i32();
  arg('keys');
  f.set(end);
  if (kind === 'causal') {
    // Keys after the last query of this block are seen by none of it.
    f.get(first)
      .get(rows)
      .op('i32.add')
      .tee(left)
      .get(end)
      .get(left)
      .get(end)
      .op('i32.lt_u')
      .op('select')
      .set(end);
  }
  f.for(key, end, keyBlock, () => {
    minimum(() => void f.get(end).get(key).op('i32.sub'), keyBlock);
    f.get(left).set(columns);
    packAll(
      parts.packColumns,
      8,
      () => {
        f.get(k).get(key);
        arg('kRow');
        f.op('i32.mul').op('i32.add');
      },
      columns,
      () => arg('kRow'),
      () => void f.i32(4),
      depth,
      kPack,
      () => arg('kRow'),
    );
    multiply(f, parts.micro, {
      rows,
      columns,
      depth,
      a: qPack,
      b: kPack,
      c: scores,
      ldc: () => void f.i32(4 * keyBlock),
      accumulate: 0,
    });
    f.i32(0).set(i);
    f.for(i, rows, 1, () => softmaxRow());
    packAll(
      parts.packRows,
      4,
      () => void f.get(scores),
      rows,
      () => void f.i32(4 * keyBlock),
      () => void f.i32(4),
      columns,
      pPack,
      () => void f.i32(4 * keyBlock),
    );
    packAll(
      parts.packColumns,
      8,
      () => {
        f.get(v).get(key);
        arg('vRow');
        f.op('i32.mul').op('i32.add');
      },
      depth,
      () => void f.i32(4),
      () => arg('vRow'),
      columns,
      vPack,
      () => void f.i32(4),
    );
    multiply(f, parts.micro, {
      rows,
      columns: depth,
      depth: columns,
      a: pPack,
      b: vPack,
      c: acc,
      ldc: () => void f.get(accRow),
      accumulate: 1,
    });
  });

  // out = acc / total
  f.i32(0).set(i);
  f.for(i, rows, 1, () => {
    const [from, to, sum] = [i32(), i32(), f.local('f32')];
    f.get(total).get(i).i32(2).op('i32.shl').op('i32.add').mem('f32.load').set(sum);
    f.get(acc).get(i).get(accRow).op('i32.mul').op('i32.add').set(from);
    f.get(out).get(first).get(i).op('i32.add');
    arg('outRow');
    f.op('i32.mul').op('i32.add').set(to).i32(0).set(j);
    f.for(j, depth, 1, () => {
      f.get(to).get(from).mem('f32.load').get(sum).op('f32.div').mem('f32.store');
      f.bump(to, 4).bump(from, 4);
    });
  });

  /** Scales and masks row i of the scores, exponentiates it against the running maximum, rescales what is summed. */
  function softmaxRow(): void {
    const [row, statistic, s, top, old, alpha, sum, at] = [
      i32(),
      i32(),
      v128(),
      v128(),
      v128(),
      v128(),
      v128(),
      i32(),
    ];
    f.get(scores)
      .get(i)
      .i32(4 * keyBlock)
      .op('i32.mul')
      .op('i32.add')
      .set(row);
    f.get(i).i32(2).op('i32.shl').set(statistic);
    f.get(highest).get(statistic).op('i32.add').mem('v128.load32_splat').tee(old).set(top);
    // Columns past the end hold whatever the padded product gave: they become -infinity.
    f.i32(0).set(j).get(row).set(p);
    if (kind === 'additive') {
      f.get(mask).get(first).get(i).op('i32.add');
      arg('maskRow');
      f.op('i32.mul').op('i32.add').get(key);
      arg('maskColumn');
      f.op('i32.mul').op('i32.add').set(at);
    }
    f.for(j, keyBlock, 4, () => {
      f.get(p).mem('v128.load').get(scale).op('f32x4.mul').set(s);
      if (kind === 'additive') {
        for (let l = 0; l < 4; l++) {
          f.get(j)
            .i32(l)
            .op('i32.add')
            .get(columns)
            .op('i32.lt_u')
            .if(() => {
              f.get(s)
                .get(s)
                .lane('f32x4.extract_lane', l)
                .get(at)
                .mem('f32.load')
                .op('f32.add')
                .lane('f32x4.replace_lane', l)
                .set(s);
            });
          f.get(at);
          arg('maskColumn');
          f.op('i32.add').set(at);
        }
      }
      // Visible: j + lane < columns, and for causal also key + j + lane <= query.
      const ramp = (): void =>
        void f
          .get(j)
          .op('i32x4.splat')
          .i32x4(0)
          .i32(1)
          .lane('i32x4.replace_lane', 1)
          .i32(2)
          .lane('i32x4.replace_lane', 2)
          .i32(3)
          .lane('i32x4.replace_lane', 3)
          .op('i32x4.add');
      f.get(s).f32x4(-Infinity);
      ramp();
      f.get(columns).op('i32x4.splat').op('i32x4.lt_s');
      if (kind === 'causal') {
        ramp();
        f.get(first)
          .get(i)
          .op('i32.add')
          .get(key)
          .op('i32.sub')
          .i32(1)
          .op('i32.add')
          .op('i32x4.splat')
          .op('i32x4.lt_s')
          .op('v128.and');
      }
      f.op('v128.bitselect').set(s);
      f.get(p).get(s).mem('v128.store').get(top).get(s).op('f32x4.max').set(top);
      f.bump(p, 16);
    });
    acrossLanes(f, top, 'f32x4.max');
    f.get(highest).get(statistic).op('i32.add').get(top).laneMem('v128.store32_lane', 0);
    // All masked so far: subtract 0, so that e^-inf gives 0 and not NaN.
    f.f32x4(0).get(top).get(top).f32x4(-Infinity).op('f32x4.eq').op('v128.bitselect').set(top);
    f.get(old).get(top).op('f32x4.sub').set(s);
    exp(f, s);
    f.set(alpha).f32x4(0).set(sum).i32(0).set(j).get(row).set(p);
    f.for(j, keyBlock, 4, () => {
      f.get(p).mem('v128.load').get(top).op('f32x4.sub').set(s);
      exp(f, s);
      f.set(s).get(p).get(s).mem('v128.store').get(sum).get(s).op('f32x4.add').set(sum);
      f.bump(p, 16);
    });
    acrossLanes(f, sum, 'f32x4.add');
    f.get(total).get(statistic).op('i32.add');
    f.get(total)
      .get(statistic)
      .op('i32.add')
      .mem('f32.load')
      .get(alpha)
      .lane('f32x4.extract_lane', 0)
      .op('f32.mul');
    f.get(sum).lane('f32x4.extract_lane', 0).op('f32.add').mem('f32.store');
    f.get(acc).get(i).get(accRow).op('i32.mul').op('i32.add').set(p).i32(0).set(j);
    f.for(j, accRow, 16, () => {
      f.get(p).get(p).mem('v128.load').get(alpha).op('f32x4.mul').mem('v128.store');
      f.bump(p, 16);
    });
  }
}

interface Multiply {
  readonly rows: Local;
  readonly columns: Local;
  readonly depth: Local;
  readonly a: Local;
  readonly b: Local;
  readonly c: Local;
  readonly ldc: () => void;
  readonly accumulate: 0 | 1;
}

/** c (+)= A·B on packed panels, in whole 4 × 8 blocks. */
function multiply(f: FunctionBuilder, micro: number, m: Multiply): void {
  const [i, j, ap, bp, at] = [f.local('i32'), f.local('i32'), f.local('i32'), f.local('i32'), f.local('i32')];
  f.i32(0).set(j).get(m.b).set(bp);
  f.for(j, m.columns, 8, () => {
    f.i32(0).set(i).get(m.a).set(ap);
    f.for(i, m.rows, 4, () => {
      f.get(m.c).get(i);
      m.ldc();
      f.op('i32.mul').op('i32.add').get(j).i32(2).op('i32.shl').op('i32.add').set(at);
      f.get(ap).get(bp).get(m.depth).get(at);
      m.ldc();
      f.i32(m.accumulate).call(micro);
      f.get(ap).get(m.depth).i32(16).op('i32.mul').op('i32.add').set(ap);
    });
    f.get(bp).get(m.depth).i32(32).op('i32.mul').op('i32.add').set(bp);
  });
}
