// Graphs before and after each pass, as text. Suites with a device test that results stay the same.

import { describe, expect, test } from 'vitest';
import { attention } from '../../ops/attention.ts';
import { conv2d } from '../../ops/conv2d.ts';
import { cast, copy } from '../../ops/copy.ts';
import { full } from '../../ops/fill.ts';
import { map } from '../../ops/map.ts';
import { linear, matmul } from '../../ops/matmul.ts';
import { groupNorm } from '../../ops/norm.ts';
import { activations, add, clamp, cos, mul, silu, sub } from '../../ops/pointwise.ts';
import { Tensor } from '../../tensor.ts';
import type { Caps } from '../../backend.ts';
import { printGraph } from '../print.ts';
import { recordGraph } from '../record.ts';
import { eliminateDead } from './eliminate-dead.ts';
import { foldConstants, foldExpr } from './fold-constants.ts';
import { fuseEpilogue } from './fuse-epilogue.ts';
import { fuseMap } from './fuse-map.ts';
import { fuseNormActivation } from './fuse-norm-activation.ts';
import { optimize, passes, passesFor } from './index.ts';
import { outputsAdjacent } from './outputs-adjacent.ts';
import type { Pass } from './index.ts';
import { sliceAttention } from './slice-attention.ts';
import { winograd } from './winograd.ts';

type Body = Parameters<typeof recordGraph>[0];
const image = (dtype: 'float32' | 'float16' = 'float32'): Tensor => Tensor.abstract(dtype, [2, 8, 4, 4]);
const rows = (): Tensor => Tensor.abstract('float32', [4, 8]);

/** The lines of the nodes after a pass. */
function after(pass: Pass, body: Body, inputs: Readonly<Record<string, Tensor>>): string[] {
  const text = printGraph(pass.run(recordGraph(body, inputs).graph));
  return text.split('\n').slice(1, -1);
}

test('eliminateDead: unread nodes, views and copies that change nothing', () => {
  const lines = after(
    eliminateDead,
    ({ x }) => {
      silu(x!);
      return add(cast(copy(x!.view([4, 8]).alias()), 'float32'), 1);
    },
    { x: rows() },
  );
  expect(lines).toEqual([
    '%6: f32[4,8] = map(%0) expr=["add",["in",0],["scalar",0]] dtype="float32" scalars=[1]',
  ]);
});

test('eliminateDead: a copy that is an output stays one, a transposed square stays transposed', () => {
  expect(after(eliminateDead, ({ x }) => copy(x!), { x: rows() })).toHaveLength(1);
  const square = Tensor.abstract('float32', [4, 4]);
  expect(after(eliminateDead, ({ x }) => x!.transpose(), { x: square })).toHaveLength(1);
});

test('foldConstants: fills become numbers, maps of numbers become fills', () => {
  const lines = after(
    foldConstants,
    ({ x }) => {
      const half = map(['mul', ['in', 0], 0.25], [full([1], 2, { device: undefined })]);
      return add(
        map(['mul', ['in', 0], ['mul', 2, ['in', 1]]], [x!, half]),
        full([4, 8], 1, { device: undefined }),
      );
    },
    { x: rows() },
  );
  expect(lines).toEqual(['%5: f32[4,8] = map(%0) expr=["add",["in",0],1] dtype="float32" shape=[4,8]']);
  const alone = after(foldConstants, () => mul(full([3], 2, { device: undefined }), 2), {});
  expect(alone).toEqual([
    '%1: f32[3] = map() expr=["mul",2,["scalar",0]] dtype="float32" scalars=[2] shape=[3]',
  ]);
});

test('foldExpr does only what float32 holds exactly', () => {
  expect(foldExpr(['add', ['mul', 2, 3], 1])).toBe(7);
  expect(foldExpr(['mul', ['in', 0], ['sub', 2, 1]])).toEqual(['in', 0]);
  for (const kept of [
    ['add', 1, 2 ** -30],
    ['mul', 0.1, 2],
    ['div', 1, 3],
    ['exp', 0],
    ['add', ['in', 0], 0],
    ['sub', ['in', 0], ['neg', 0]],
    ['div', 1, 0],
  ] as const)
    expect(foldExpr(kept)).toEqual(kept);
});

describe('fuseMap', () => {
  test('composes, renumbers inputs and scalars, and casts what was stored', () => {
    const lines = after(fuseMap, ({ x, y }) => clamp(sub(mul(x!, 3), y!), -1, 1), { x: rows(), y: rows() });
    expect(lines).toEqual([
      '%4: f32[4,8] = map(%0, %1) expr=["min",["max",["cast","float32",["sub",["cast","float32",["mul",["in",0],["scalar",2]]],["in",1]]],["scalar",0]],["scalar",1]] dtype="float32" scalars=[-1,1,3]',
    ]);
  });

  const apart: readonly [string, Body][] = [
    ['two readers', ({ x }) => { const a = silu(x!); return { a: add(a, 1), b: mul(a, 2) }; }],
    ['an output that is read', ({ x }) => { const a = silu(x!); return { a, b: mul(a, 2) }; }],
    ['a smaller producer', ({ x, row }) => add(x!, silu(row!))],
    ['functions of another kernel', ({ x }) => cos(silu(x!))],
    ['integers in between', ({ x }) => add(cast(x!, 'int32'), 1)],
    ['a result of another layout', ({ x }) => silu(copy(x!, { format: 'channelsLast' }))],
  ]; // prettier-ignore
  test.each(apart)('leaves %s alone', (_, body) => {
    const inputs = { x: image(), row: Tensor.abstract('float32', [4]) };
    const { graph } = recordGraph(body, inputs);
    expect(fuseMap.run(graph).nodes).toEqual(graph.nodes);
  });
});

describe('fuseEpilogue', () => {
  test('takes scale, residual and activation into a product', () => {
    const lines = after(
      fuseEpilogue(),
      ({ x, r, w, b }) => silu(add(r!, mul(linear(x!, w!, { bias: b! }), 0.5))),
      { x: rows(), r: rows(), w: Tensor.abstract('float32', [8, 8]), b: Tensor.abstract('float32', [8]) },
    );
    const sum = '["add",["in",2],["mul",["add",["in",0],["in",1]],0.5]]';
    expect(lines.at(-1)).toBe(
      `%8: f32[4,8] = matmul(%0, %4, %3, %1) epilogue=["mul",${sum},["sigmoid",${sum}]]`,
    );
    expect(lines).toHaveLength(2);
  });

  const apart: readonly [string, Body][] = [
    ['two readers', ({ x }) => { const a = conv2d(x!, x!.slice(0, 0, 2)); return { a: add(a, 1), b: mul(a, 2) }; }],
    ['a broadcast of the product', ({ x, big }) => add(big!, matmul(x!.slice(2, 0, 1), x!.transpose()))],
    ['another dtype', ({ x }) => cast(matmul(x!, x!.transpose()), 'float16')],
    ['a number that is not finite', ({ x }) => mul(matmul(x!, x!.transpose()), Infinity)],
  ]; // prettier-ignore
  test.each(apart)('leaves %s alone', (_, body) => {
    const { graph } = recordGraph(body, { x: image(), big: image() });
    expect(fuseEpilogue().run(graph).nodes).toEqual(graph.nodes);
  });

  test('stops at as many inputs as kernels bind', () => {
    const inputs = Object.fromEntries(
      'abcdefg'.split('').map((name) => [name, Tensor.abstract('float32', [8, 8])]),
    );
    const lines = after(
      fuseEpilogue(),
      ({ a, b, ...rest }) => Object.values(rest).reduce((sum, t) => add(sum, t), matmul(a!, b!)),
      inputs,
    );
    expect(lines.map((l) => /= (\w+)\(([^)]*)/.exec(l)!.slice(1))).toEqual([
      ['matmul', '%0, %1, %2, %3, %4, %5'],
      ['map', '%11, %6'],
    ]);
  });
});

test('fuseNormActivation: silu alone', () => {
  const once = after(fuseNormActivation, ({ x }) => silu(groupNorm(x!, 2)), { x: image('float16') });
  expect(once).toEqual(['%2: f16[2,8,4,4] = groupNorm(%0) groups=2 eps=0.00001 activation="silu"']);
  const gelu: Body = ({ x }) => map(activations.gelu(['in', 0]), [groupNorm(x!, 2)]);
  expect(after(fuseNormActivation, gelu, { x: image() })).toHaveLength(2);
});

test('passes leave their argument as it was', () => {
  const { graph } = recordGraph(({ x }) => silu(groupNorm(add(silu(x!), 1), 2)), { x: image() });
  const text = JSON.stringify(graph);
  expect(optimize(graph).nodes).toHaveLength(2);
  expect(JSON.stringify(graph)).toBe(text);
});

test('sliceAttention: items, then heads, then queries, joined as the whole one lay', () => {
  const heads = (): Tensor => Tensor.abstract('float32', [2, 4, 2, 8]);
  const sliced = (maxScoreBytes: number, causal = false): string[] =>
    after(
      sliceAttention({ maxScoreBytes }),
      ({ x }) => {
        const q = x!.permute(0, 2, 1, 3);
        return attention(q, q, q, { causal });
      },
      { x: heads() },
    ).filter((line) => !/ = (slice|permute)/.test(line));
  const whole = 4 * 2 * 2 * 4 * 4;
  expect(sliced(whole)).toHaveLength(1);
  expect(sliced(whole / 2)).toEqual([
    '%6: f32[1,2,4,8]strided = attention(%3, %4, %5) scale=0.35355339059327373',
    '%10: f32[1,2,4,8]strided = attention(%7, %8, %9) scale=0.35355339059327373',
    '%13: f32[2,4,2,8] = copy(%11, %12) shape=[2,4,2,8] dtype="float32" format="contiguous" starts=[[0,0,0,0],[1,0,0,0]]',
  ]);
  const pieces = (limit: number, causal: boolean): (string | undefined)[] => [
    ...new Set(sliced(limit, causal).map((line) => /f32(\S+) = attention/.exec(line)?.[1])),
  ];
  expect(pieces(whole / 4, false)).toEqual(['[1,1,4,8]', undefined]);
  expect(pieces(whole / 8, false)).toEqual(['[1,1,2,8]', undefined]);
  expect(pieces(whole / 8, true)).toEqual(['[1,1,4,8]', undefined]);
  expect(() => sliceAttention({ maxScoreBytes: Number.NaN })).toThrow(
    'sliceAttention: maxScoreBytes must be above 0, got NaN',
  );
});

describe('outputsAdjacent', () => {
  const weights = (): Map<string, Tensor> =>
    new Map<string, Tensor>([
      ['linear', Tensor.abstract('float16', [6, 8])],
      ['conv', Tensor.abstract('float32', [4, 8, 3, 3])],
    ]);
  const nodesOf = (body: (x: Tensor, w: Map<string, Tensor>) => Tensor, x: Tensor): string[] => {
    const params = weights();
    const { graph } = recordGraph(({ x: input }) => body(input!, params), { x }, params);
    const text = printGraph(eliminateDead.run(outputsAdjacent.run(graph)));
    return text.split('\n').slice(1, -1);
  };

  test('copies a weight once, for all products that read it', () => {
    const lines = nodesOf(
      (x, w) => add(linear(x, w.get('linear')!), linear(silu(x), w.get('linear')!)),
      rows(),
    );
    expect(lines.filter((line) => / = copy/.test(line))).toHaveLength(1);
    expect(lines.filter((line) => / = matmul/.test(line))).toHaveLength(2);
    expect(lines[1]).toBe(
      '%9: f16[8,6] = copy(%2) shape=[8,6] dtype="float16" format="contiguous" starts=[[0,0]]',
    );
  });

  test('lays the weight of a convolution of channels-last images, and no other', () => {
    const conv = (x: Tensor, w: Map<string, Tensor>): Tensor => conv2d(x, w.get('conv')!);
    expect(nodesOf(conv, image())).toHaveLength(1);
    const lines = nodesOf((x, w) => conv(copy(x, { format: 'channelsLast' }), w), image());
    expect(lines.map((line) => /= (\w+)/.exec(line)![1])).toEqual([
      'copy',
      'permute',
      'copy',
      'permute',
      'conv2d',
    ]);
  });

  test('leaves what is new at every call alone', () => {
    const { graph } = recordGraph(({ x }) => matmul(x!, x!.transpose()), { x: rows() });
    expect(outputsAdjacent.run(graph).nodes).toEqual(graph.nodes);
  });

  test('runs where the device asks for it and its copies are small', () => {
    const caps = {
      rewrites: [{ pass: 'channelsLast' }, { pass: 'outputsAdjacent' }],
      maxBindings: 8,
    } as const;
    const copies = (size: number): number => {
      const w = Tensor.abstract('float32', [size, size]);
      const x = Tensor.abstract('float32', [4, size]);
      const { graph } = recordGraph(({ x: input }) => linear(input!, w), { x }, new Map([['w', w]]));
      return optimize(graph, passesFor(caps, true)).nodes.filter(({ op }) => op.kind === 'copy').length;
    };
    expect([copies(64), copies(1 << 14)]).toEqual([1, 0]);
    const names = (rewrites: Caps['rewrites']): string[] =>
      passesFor({ rewrites, maxBindings: 8 }, true).map((pass) => pass.name);
    const common = passes.map((pass) => pass.name);
    expect(names([])).toEqual(common);
    expect(names(caps.rewrites)).toEqual(['channelsLast', ...common, 'outputsAdjacent', 'eliminateDead']);
    const options = { leastChannels: 16, leastTiles: 32 };
    expect(names([{ pass: 'winograd', options }])).toEqual([...common, 'winograd', 'eliminateDead']);
    expect(passesFor(caps, false).map((pass) => pass.name)).not.toContain('fuseSharedMatmuls');
  });
});

describe('winograd', () => {
  const kinds = (
    shape: readonly number[],
    more: { weight?: readonly number[]; dtype?: 'float16'; stride?: number } = {},
  ): string[] => {
    const { weight = [16, shape[1]!, 3, 3], dtype = 'float32', stride = 1 } = more;
    const w = Tensor.abstract('float16', weight);
    const x = Tensor.abstract(dtype, shape);
    const { graph } = recordGraph(
      ({ x: input }) => {
        const image = copy(input!, { format: 'channelsLast' });
        const conv = (): Tensor => conv2d(image, w, { padding: 1, stride });
        return { one: silu(conv()), two: conv() };
      },
      { x },
      new Map([['w', w]]),
    );
    const nodes = optimize(graph, [
      fuseEpilogue(),
      winograd({ leastChannels: 16, leastTiles: 32 }),
    ]).nodes.map(({ op }) => op);
    return nodes.filter(({ kind }) => /conv2d|winograd|map/.test(kind)).map(({ kind }) => kind);
  };

  test('transforms a weight once for all convolutions that read it, and keeps their epilogues', () => {
    expect(kinds([2, 16, 8, 8])).toEqual(['map', 'map', 'winograd', 'winograd']);
  });

  const apart: readonly [string, ...Parameters<typeof kinds>][] = [
    ['few channels', [2, 12, 8, 8]],
    ['few outputs', [2, 16, 8, 8], { weight: [15, 16, 3, 3] }],
    ['few tiles', [1, 16, 8, 8]],
    ['tiles that take much memory', [1, 128, 512, 512]],
    ['a stride', [2, 16, 8, 8], { stride: 2 }],
    ['another kernel', [2, 16, 8, 8], { weight: [16, 16, 1, 1] }],
    ['narrow images', [2, 16, 8, 8], { dtype: 'float16' }],
  ];
  test.each(apart)('leaves %s alone', (_, ...given) => {
    expect(kinds(...given)).toEqual(['conv2d', 'conv2d']);
  });
});
