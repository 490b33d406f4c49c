// The mapping of matmul to cuBLASLt's problem, without the library: a plain column-major product that takes the problem
// at its word gives what the op's definition says, for any layouts.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { activations } from '@darkroom/core';
import { contiguousStrides, elementCount, evaluate, layoutOf, span } from '@darkroom/core/backend';
import type { DType, Expr, Layout } from '@darkroom/core';
import type { ArgSpec, MatmulOp } from '@darkroom/core/backend';
import { cublasCompute, cublasEpilogue } from '../node/native.ts';
import { cublasMatmul } from './cublaslt-problem.ts';
import type { CublasMatmul } from './cublaslt-problem.ts';
import { columnMajorProduct } from './cublaslt-testing.ts';

/** Addresses of an argument's elements in one memory for all arguments. */
interface Placed {
  readonly spec: ArgSpec;
  readonly at: number;
}
const inputs: readonly Expr[] = [
  ['in', 0],
  ['in', 1],
  ['in', 2],
];
const spec = (layout: Layout, dtype: DType = 'float16'): ArgSpec => ({ dtype, layout });

function element(x: Placed, shape: readonly number[], coordinates: readonly number[]): number {
  const { layout } = x.spec;
  const lead = shape.length - layout.shape.length;
  return layout.shape.reduce(
    (sum, size, d) => sum + (size === 1 ? 0 : coordinates[d + lead]! * layout.strides[d]!),
    x.at,
  );
}

/** The op's definition, element by element. */
function definition(op: MatmulOp, args: readonly Placed[], memory: Float64Array): number[] {
  const { shape } = args.at(-1)!.spec.layout;
  const k = args[0]!.spec.layout.shape.at(-1)!;
  const strides = contiguousStrides(shape);
  return Array.from({ length: elementCount(shape) }, (_, flat) => {
    const at = shape.map((d, i) => Math.floor(flat / strides[i]!) % d);
    let sum = 0;
    for (let i = 0; i < k; i++) {
      const left = element(args[0]!, [...shape.slice(0, -1), k], [...at.slice(0, -1), i]);
      const right = element(args[1]!, [...shape.slice(0, -2), k, shape.at(-1)!], [...at.slice(0, -2), i, at.at(-1)!]);
      sum += memory[left]! * memory[right]!;
    }
    const extras = args.slice(2, -1).map((e) => memory[element(e, shape, at)]!);
    return evaluate(op.epilogue ?? ['in', 0], { inputs: [sum, ...extras], scalars: [], index: [] });
  }); // prettier-ignore
}

/** Strides of `shape` with its dimensions in any order of memory, gaps between rows, and some broadcast. */
const anyLayout = (shape: readonly number[], mayRepeat: boolean): fc.Arbitrary<Layout> =>
  fc
    .record({
      order: fc.shuffledSubarray(
        shape.map((_, i) => i),
        { minLength: shape.length, maxLength: shape.length },
      ),
      natural: fc.integer({ min: 0, max: 3 }),
      gap: fc.integer({ min: 0, max: 2 }),
      repeated: fc.array(fc.boolean(), { minLength: shape.length, maxLength: shape.length }),
    })
    .map(({ order, natural, gap, repeated }) => {
      // Mostly row-major or transposed, as models have them.
      const plain = shape.map((_, i) => i);
      const walk = natural === 0 ? order : natural === 1 ? [...plain.slice(0, -2), ...plain.slice(-2).reverse()] : plain; // prettier-ignore
      const strides = new Array<number>(shape.length).fill(1);
      let step = 1;
      for (const [i, d] of walk.toReversed().entries()) {
        strides[d] = step;
        step = step * Math.max(1, shape[d]!) + (i === 0 ? gap : 0);
      }
      const own = strides.map((s, d) => (mayRepeat && natural === 0 && repeated[d] ? 0 : s));
      return { shape, strides: own, offset: 0 };
    });

const size = fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 1, max: 4 }) }, { weight: 1, arbitrary: fc.constant(0) }); // prettier-ignore
const problems = fc
  .record({
    batch: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }),
    m: size,
    n: size,
    k: size,
    ones: fc.array(fc.boolean(), { minLength: 16, maxLength: 16 }),
    kinds: fc.array(fc.constantFrom('row', 'column', 'matrix', 'one' as const), { maxLength: 2 }),
    factors: fc.array(fc.constantFrom(1, 1, 0.5), { minLength: 3, maxLength: 3 }),
  })
  .chain(({ batch, m, n, k, ones, kinds, factors }) => {
    // Leading dimensions are left out or of size 1 in some arguments.
    const batchOf = (i: number): number[] => batch.map((d, j) => (ones[i * 3 + j] ? 1 : d)).slice(ones[12 + i] ? 1 : 0); // prettier-ignore
    const extras = kinds.map((kind, i) => [
      ...(kind === 'matrix' ? batch : batchOf(2 + i)),
      kind === 'column' || kind === 'matrix' ? m : 1,
      kind === 'row' || kind === 'matrix' ? n : 1,
    ]);
    const factor = (i: number): Expr => (factors[i] === 1 ? inputs[i]! : ['mul', inputs[i]!, factors[i]!]);
    const epilogue = kinds.reduce<Expr>((e, _, i) => ['add', e, factor(i + 1)], factor(0));
    const shapes = [[...batchOf(0), m, k], [...batchOf(1), k, n], ...extras, [...batch, m, n]];
    return fc.record({
      op: fc.constant<MatmulOp>({ kind: 'matmul', ...(epilogue !== inputs[0] && { epilogue }) }),
      layouts: fc.tuple(...shapes.map((s, i) => anyLayout(s, i < shapes.length - 1))),
      offsets: fc.array(fc.nat(5), { minLength: shapes.length, maxLength: shapes.length }),
    });
  });

describe('cublasMatmul', () => {
  test('means what the op means, in every layout it takes', () => {
    const counts = { all: 0, folded: 0, transposed: 0, batched: 0, biased: 0, added: 0, columnMajor: 0 };
    fc.assert(
      fc.property(problems, ({ op, layouts, offsets }) => {
        const args = layouts.map((l) => spec(l));
        const m = cublasMatmul(op, args);
        if (!m) return;
        let end = 0;
        const placed = args.map((s, i): Placed => {
          const at = end + offsets[i]!;
          end = at + span(s.layout);
          return { spec: s, at };
        });
        const memory = Float64Array.from({ length: end }, (_, i) => ((i * 7919) % 31) - 15);
        const want = definition(op, placed, memory);
        const at = (i: number): number => placed[i]?.at ?? NaN;
        const starts = { a: at(m.a), b: at(m.b), c: at(m.c), d: at(m.d), bias: at(m.bias) };
        expect(m.problem.epilogue === cublasEpilogue.bias).toBe(m.bias >= 0);
        columnMajorProduct(m.problem, m.alpha, m.beta, {
          read: (of, index) => memory[starts[of] + index]!,
          write: (index, value) => void (memory[starts.d + index] = value),
        });
        const out = placed.at(-1)!;
        const { shape } = out.spec.layout;
        const strides = contiguousStrides(shape);
        const got = want.map((_, flat) => memory[element(out, shape, shape.map((d, i) => Math.floor(flat / strides[i]!) % d))]!); // prettier-ignore
        expect(got).toEqual(want);
        counts.all++;
        const { problem: p } = m;
        if (shape.length > 2 && !p.d.batch) counts.folded++;
        if (p.transposeA || p.transposeB) counts.transposed++;
        if (p.d.batch) counts.batched++;
        if (m.bias >= 0) counts.biased++;
        if (m.beta !== 0) counts.added++;
        if (m.a === 0) counts.columnMajor++;
      }),
      { numRuns: 3000, seed: 1 },
    );
    // The property holds of cases of every kind, not of none.
    for (const [kind, count] of Object.entries(counts)) expect([kind, count >= 40]).toEqual([kind, true]);
  });

  const a = layoutOf([4, 6]);
  const linear = (shape: readonly number[]): Layout => ({ shape, strides: [1, shape[0]!], offset: 0 });
  const of = (op: Partial<MatmulOp>, ...layouts: Layout[]): CublasMatmul | undefined =>
    cublasMatmul({ kind: 'matmul', ...op }, layouts.map((l) => spec(l))); // prettier-ignore

  test('a linear layer is one product with a bias, its weight read in place and its batch folded into the rows', () => {
    const m = of({ epilogue: ['add', ['in', 0], ['in', 1]] }, layoutOf([2, 5, 6]), linear([6, 8]), layoutOf([8]), layoutOf([2, 5, 8])); // prettier-ignore
    expect(m).toMatchObject({
      a: 1,
      b: 0,
      c: 3,
      d: 3,
      bias: 2,
      alpha: 1,
      beta: 0,
      alignments: [16, 16, 16, 16],
    });
    expect(m!.problem).toMatchObject({
      transposeA: true,
      transposeB: false,
      epilogue: cublasEpilogue.bias,
      a: { rows: 6, columns: 8, leading: 6 },
      b: { rows: 6, columns: 10, leading: 6 },
      d: { rows: 8, columns: 10, leading: 8 },
    });
    expect(m!.problem.d).not.toHaveProperty('batch');
  });
  test('batches keep the alignment that their stride leaves', () => {
    const m = of({}, layoutOf([3, 2, 3]), layoutOf([3, 3, 4]), layoutOf([3, 2, 4]));
    // 12 elements of b, 6 of a and 8 of the result, of 2 bytes each.
    expect(m!.alignments).toEqual([8, 4, 16, 16]);
  });
  test('tf32 only where the op allows it, on float32 only', () => {
    const compute = (dtype: DType, op: Partial<MatmulOp>): number | undefined =>
      cublasMatmul({ kind: 'matmul', ...op }, [spec(a, dtype), spec(layoutOf([6, 8]), dtype), spec(layoutOf([4, 8]), dtype)])?.problem.compute; // prettier-ignore
    expect(compute('float32', {})).toBe(cublasCompute.float32);
    expect(compute('float32', { precision: 'tf32' })).toBe(cublasCompute.tf32);
    expect(compute('float16', { precision: 'tf32' })).toBe(cublasCompute.float32);
    expect(compute('bfloat16', {})).toBe(cublasCompute.float32);
    expect(compute('int32', {})).toBeUndefined();
  });
  test('refuses what it cannot say', () => {
    const [b, y] = [layoutOf([6, 8]), layoutOf([4, 8])];
    const plus: Expr = ['add', ['in', 0], ['in', 1]];
    expect(of({}, a, b, y)).toBeDefined();
    expect(of({ epilogue: activations.relu(['in', 0]) }, a, b, y)).toBeUndefined();
    expect(of({ epilogue: activations.geluTanh(['in', 0]) }, a, b, y)).toBeUndefined();
    expect(of({ epilogue: ['mul', ['in', 0], ['in', 1]] }, a, b, y, y)).toBeUndefined();
    expect(of({ epilogue: ['add', plus, ['index', 0]] }, a, b, layoutOf([8]), y)).toBeUndefined();
    expect(of({ epilogue: plus }, a, b, layoutOf([4, 1]), y)).toBeUndefined(); // a bias of rows
    expect(of({}, layoutOf([0, 6]), b, layoutOf([0, 8]))).toBeUndefined();
    expect(of({}, layoutOf([4, 0]), layoutOf([0, 8]), y)).toBeUndefined();
    expect(of({}, { ...a, strides: [12, 2] }, b, y)).toBeUndefined();
    expect(of({}, { ...a, strides: [0, 1] }, b, y)).toBeUndefined();
    const batches: Layout = { shape: [2, 3, 4, 6], strides: [24, 48, 6, 1], offset: 0 };
    expect(of({}, batches, layoutOf([2, 3, 6, 8]), layoutOf([2, 3, 4, 8]))).toBeUndefined();
    expect(
      cublasMatmul({ kind: 'matmul' }, [spec(a), spec(b, 'float32'), spec(y, 'float32')]),
    ).toBeUndefined();
  });
});
