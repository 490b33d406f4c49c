// Random kernel cases, drawn by fast-check: every op kind over shapes, strides, offsets, formats and dtypes. The
// caller passes fast-check in, so that core depends on nothing; every backend's suite runs these unchanged.

import type * as FastCheck from 'fast-check';
import type { DType } from '../dtype.ts';
import type { Expr } from '../expr.ts';
import type { KernelOp } from '../ops/table.ts';
import { activations } from '../ops/pointwise.ts';
import type { InputLayout, InputSpec } from './inputs.ts';
import type { KernelCase } from './kernel-case.ts';

type Fc = typeof FastCheck.default;
type Arb<T> = FastCheck.Arbitrary<T>;

const layouts: readonly InputLayout[] = [
  'contiguous',
  'channelsLast',
  'permuted',
  'transposed',
  'sliced',
  'offset',
];

/** An arbitrary for each kind of op but custom. */
// eslint-disable-next-line max-lines-per-function -- an arbitrary for each op
export function kernelArbitraries(
  fc: Fc,
): Readonly<Record<Exclude<KernelOp['kind'], 'custom'>, Arb<KernelCase>>> {
  const size = (max: number): Arb<number> =>
    fc.oneof(
      { weight: 1, arbitrary: fc.constantFrom(1, 2) },
      { weight: 4, arbitrary: fc.integer({ min: 1, max }) },
    );
  const float: Arb<DType> = fc.oneof(
    { weight: 3, arbitrary: fc.constant<DType>('float32') },
    { weight: 1, arbitrary: fc.constantFrom<DType>('float16', 'bfloat16') },
  );
  const layout = fc.constantFrom(...layouts);
  const shape = (maxRank: number, maxSize: number): Arb<number[]> =>
    fc.array(size(maxSize), { minLength: 1, maxLength: maxRank });
  const input = (dims: readonly number[], more: Partial<InputSpec> = {}): Arb<InputSpec> =>
    fc
      .record({ dtype: float, layout })
      .map(({ dtype, layout: l }) => ({ shape: dims, dtype, layout: l, ...more }));
  const make = (op: KernelOp, inputs: readonly InputSpec[]): KernelCase => ({
    name: `random ${op.kind}`,
    op,
    inputs,
  });
  const epilogues: readonly (Expr | undefined)[] = [
    undefined,
    ['add', ['in', 0], ['in', 1]],
    activations.silu(['add', ['in', 0], ['in', 1]]),
    ['add', activations.gelu(['mul', ['in', 0], 0.5]), ['in', 1]],
  ];
  /** A product with one of the epilogues, which reads the third input. */
  const finished = (
    op: KernelOp,
    [a, b, c]: readonly [InputSpec, InputSpec, InputSpec],
    which: number,
  ): KernelCase => {
    const epilogue = epilogues[which];
    return epilogue ? make({ ...op, epilogue } as KernelOp, [a, b, c]) : make(op, [a, b]);
  };
  const unit = { values: 'normal' } as const;

  const map = fc
    .tuple(shape(4, 9), fc.integer({ min: 0, max: mapExpressions.length - 1 }))
    .chain(([dims, which]) => {
      const { expr, positive } = mapExpressions[which]!;
      const values = positive ? ('positive' as const) : ('normal' as const);
      return fc
        .tuple(
          input(dims, { values }),
          input(dims, { values }),
          fc.integer({ min: 0, max: dims.length }),
          float,
        )
        .map(([a, b, dropped, dtype]) => {
          // The second input may lack leading dimensions, or have size 1 in one: broadcasting.
          const thin =
            dropped < dims.length
              ? dims.map((d, i) => (i === dropped ? 1 : d))
              : dims.slice(dims.length > 1 ? 1 : 0);
          const second = { ...b, shape: thin };
          return make({ kind: 'map', expr, dtype, scalars: [0.75, -1.5] }, [a, second]);
        });
    });

  const reduce = fc
    .tuple(shape(4, 8), fc.constantFrom('sum', 'max', 'min', 'argmax' as const), fc.boolean(), fc.nat())
    .chain(([dims, fn, keepDims, pick]) => {
      const all = dims.map((_, i) => i);
      const axes = fn === 'argmax' ? [pick % dims.length] : all.filter((i) => ((pick >> i) & 1) === 1);
      const chosen = axes.length === 0 ? all : axes;
      const extras =
        fn === 'sum' && pick % 3 === 0
          ? { pre: ['mul', ['in', 0], ['in', 0]] as Expr, post: ['mul', ['in', 0], 0.25] as Expr }
          : {};
      return input(dims).map((x) =>
        make({ kind: 'reduce', fn, axes: chosen, keepDims, ...extras } as KernelOp, [x]),
      );
    });

  const matmul = fc
    .record({
      m: size(40),
      n: size(40),
      k: size(70),
      batch: fc.constantFrom<number[]>([], [2], [3, 2], [1]),
      which: fc.nat(3),
      share: fc.boolean(),
    })
    .chain(({ m, n, k, batch, which, share }) =>
      fc
        .tuple(
          input([...batch, m, k], unit),
          input([...(share ? [] : batch), k, n], unit),
          input(which === 3 ? [m, n] : [n]),
        )
        .map((inputs) => finished({ kind: 'matmul' }, inputs, which)),
    );

  const conv2d = fc
    .record({
      n: fc.integer({ min: 1, max: 2 }),
      cg: size(12),
      og: size(14),
      groups: fc.constantFrom(1, 1, 1, 2, 3),
      h: size(11),
      w: size(13),
      kernel: fc.constantFrom<[number, number]>([1, 1], [3, 3], [3, 3], [1, 3], [2, 5]),
      stride: fc.constantFrom<[number, number]>([1, 1], [1, 1], [2, 2], [2, 1]),
      dilation: fc.constantFrom<[number, number]>([1, 1], [1, 1], [2, 1]),
      padding: fc.constantFrom<[number, number, number, number]>(
        [0, 0, 0, 0],
        [1, 1, 1, 1],
        [0, 1, 0, 1],
        [2, 0, 1, 3],
      ),
      which: fc.nat(3),
    })
    .filter(({ h, w, kernel, dilation, padding }) => {
      const fits = (size_: number, k: number, d: number, a: number, b: number): boolean =>
        size_ + a + b >= d * (k - 1) + 1;
      return (
        fits(h, kernel[0], dilation[0], padding[0], padding[1]) &&
        fits(w, kernel[1], dilation[1], padding[2], padding[3])
      );
    })
    .chain(({ n, cg, og, groups, h, w, kernel, which, ...geometry }) =>
      fc
        .tuple(input([n, cg * groups, h, w]), input([og * groups, cg, ...kernel]), input([og * groups, 1, 1]))
        .map((inputs) => finished({ kind: 'conv2d', groups, ...geometry }, inputs, which)),
    );

  const winograd = fc
    .record({
      n: fc.integer({ min: 1, max: 2 }),
      c: size(20),
      o: size(20),
      h: size(9),
      w: size(9),
      padding: fc.constantFrom<[number, number, number, number]>([1, 1, 1, 1], [1, 1, 1, 1], [2, 0, 3, 1]),
      which: fc.nat(3),
    })
    .filter(({ h, w, padding: [a, b, c, d] }) => h + a + b > 2 && w + c + d > 2)
    .chain(({ n, c, o, h, w, padding, which }) =>
      fc
        .tuple(input([n, c, h, w]), input([16, c, o]), input([o, 1, 1]))
        .map((inputs) => finished({ kind: 'winograd', padding }, inputs, which)),
    );

  const attention = fc
    .record({
      b: fc.integer({ min: 1, max: 2 }),
      heads: size(3),
      l: size(40),
      s: size(50),
      d: size(48),
      mask: fc.constantFrom('none', 'none', 'causal', 'additive' as const),
    })
    .chain(({ b, heads, l, s, d, mask }) =>
      fc
        .tuple(input([b, heads, l, d]), input([b, heads, s, d]), input([b, heads, s, d]), input([b, 1, l, s]))
        .map(([q, k, v, m]) => {
          const op: KernelOp = { kind: 'attention', scale: 1 / Math.sqrt(d), mask: mask as 'none' };
          return make(op, mask === 'additive' ? [q, k, v, m] : [q, k, v]);
        }),
    );

  const softmax = fc
    .tuple(shape(4, 20), fc.nat())
    .chain(([dims, axis]) =>
      input(dims).map((x) => make({ kind: 'softmax', axis: axis % dims.length }, [x])),
    );

  const groupNorm = fc
    .record({
      n: size(2),
      groups: size(4),
      per: size(5),
      rest: fc.oneof(fc.tuple(size(7), size(7)), fc.tuple(size(30))),
      silu: fc.boolean(),
      affine: fc.boolean(),
    })
    .chain(({ n, groups, per, rest, silu, affine }) => {
      const c = groups * per;
      return fc
        .tuple(input([n, c, ...rest]), input([c]), input([c]))
        .map(([x, weight, bias]) =>
          make(
            { kind: 'groupNorm', groups, eps: 1e-5, ...(silu && { activation: 'silu' as const }) },
            affine ? [x, weight, bias] : [x],
          ),
        );
    });

  const lastAxis = (kind: 'layerNorm' | 'rmsNorm'): Arb<KernelCase> =>
    fc.tuple(shape(3, 40), fc.boolean()).chain(([dims, affine]) => {
      const d = dims.at(-1)!;
      return fc
        .tuple(input(dims), input([d]), input([d]))
        .map(([x, weight, bias]) =>
          make({ kind, eps: 1e-5 }, !affine ? [x] : kind === 'rmsNorm' ? [x, weight] : [x, weight, bias]),
        );
    });

  const gather = fc.tuple(shape(3, 9), shape(2, 6), fc.nat()).chain(([dims, ids, a]) => {
    const axis = a % dims.length;
    const spec: InputSpec = { shape: ids, dtype: 'int32', values: { below: dims[axis]! } };
    return input(dims).map((table) => make({ kind: 'gather', axis }, [table, spec]));
  });

  const copy = fc
    .record({
      dims: shape(4, 7),
      extra: fc.constantFrom(0, 0, 1, 3),
      format: fc.constantFrom('contiguous', 'channelsLast' as const),
      dtype: float,
      two: fc.boolean(),
      axis: fc.nat(),
    })
    .chain(({ dims, extra, format, dtype, two, axis }) => {
      const a = axis % dims.length;
      const whole = dims.map((d, i) => (i === a ? (two ? 2 * d : d) : d) + extra);
      const origin = dims.map(() => extra);
      const next = origin.map((o, i) => (i === a ? o + dims[a]! : o));
      const op: KernelOp = {
        kind: 'copy',
        shape: whole,
        dtype,
        format: dims.length === 4 ? (format as 'contiguous') : 'contiguous',
        starts: two ? [origin, next] : [origin],
        ...(extra > 0 && { fill: -2 }),
      };
      return fc.tuple(input(dims), input(dims)).map(([x, y]) => make(op, two ? [x, y] : [x]));
    });

  const fill = fc
    .tuple(shape(3, 9), float)
    .map(([dims, dtype]) => make({ kind: 'fill', shape: dims, dtype, value: 1.25 }, []));

  const resize = fc
    .record({
      dims: fc.tuple(size(2), size(5), size(9), size(9)),
      size: fc.tuple(size(20), size(20)),
      mode: fc.constantFrom('nearest', 'bilinear' as const),
    })
    .chain(({ dims, size: to, mode }) =>
      input(dims).map((x) => make({ kind: 'resize', mode: mode as 'nearest', size: to }, [x])),
    );

  const random = fc
    .record({
      dims: shape(3, 11),
      dtype: float,
      seed: fc.nat(),
      offset: fc.nat(100),
      distribution: fc.constantFrom('normal', 'uniform' as const),
    })
    .map(({ dims, dtype, seed, offset, distribution }) =>
      make(
        {
          kind: 'random',
          distribution: distribution as 'normal',
          shape: dims,
          dtype,
          seed: [seed >>> 0, 7],
          offset,
        },
        [],
      ),
    );

  return {
    map, reduce, matmul, conv2d, winograd, attention, softmax, groupNorm, layerNorm: lastAxis('layerNorm'), rmsNorm: lastAxis('rmsNorm'),
    gather, copy, fill, resize, random,
  }; // prettier-ignore
}

const x: Expr = ['in', 0];
const y: Expr = ['in', 1];

/** Every scalar function at least once. `positive` ones are undefined below zero. */
export const mapExpressions: readonly { readonly expr: Expr; readonly positive?: boolean }[] = [
  { expr: ['add', x, y] },
  { expr: ['sub', ['mul', x, y], ['scalar', 0]] },
  { expr: ['div', x, ['add', 2, ['abs', y]]] },
  { expr: ['min', ['max', x, ['scalar', 1]], y] },
  { expr: ['exp', x] },
  { expr: ['log', x], positive: true },
  { expr: ['sqrt', ['add', x, y]], positive: true },
  { expr: ['rsqrt', ['add', x, 0.01]], positive: true },
  { expr: ['sin', ['mul', x, 3]] },
  { expr: ['cos', ['sub', x, y]] },
  { expr: ['tanh', x] },
  { expr: ['erf', x] },
  { expr: ['sigmoid', ['neg', x]] },
  { expr: ['floor', ['mul', x, 4]] },
  { expr: ['round', ['mul', x, 4]] },
  { expr: ['pow', x, y], positive: true },
  { expr: ['where', ['lt', x, y], x, ['neg', y]] },
  {
    expr: [
      'where',
      ['and', ['gt', x, 0], ['not', ['le', y, 0]]],
      1,
      ['where', ['or', ['eq', x, y], ['ge', x, 1]], 2, 3],
    ],
  },
  { expr: ['where', ['ne', x, 0], ['cast', 'float16', x], ['nan']] },
  { expr: ['add', ['mul', ['index', 0], 0.5], x] },
  { expr: activations.silu(x) },
  { expr: activations.gelu(x) },
  { expr: activations.geluTanh(x) },
  { expr: activations.quickGelu(['add', x, y]) },
  { expr: ['mul', x, activations.gelu(y)] },
  { expr: ['max', x, ['neg', ['inf']]] },
];
