// Packing only moves and widens values: products on packed weights have the bits of those that pack at every call.

import { encode } from '@darkroom/core/backend';
import type { DType } from '@darkroom/core';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { prepareConv } from './conv2d.ts';
import type { ConvSpec } from './conv2d.ts';
import { sizeOf } from './elements.ts';
import { Engine } from './engine.ts';
import type { Packable } from './packing.ts';
import { prepareProduct, tiles } from './product.ts';
import type { ProductSpec } from './product.ts';
import { prepareWinograd } from './winograd.ts';

const engines = await Promise.all([
  Engine.create({ threads: 1 }),
  Engine.create({ threads: 2, relaxed: false }),
]);
afterAll(() => engines.forEach((e) => e.dispose()));

const engineArbitrary = fc.constantFrom(...engines);
const tileArbitrary = fc.constantFrom(...tiles);

const noise = Array.from({ length: 4096 + 1 }, (_, i) => Math.sin(i * 12.9898));
const noiseIn = (dtype: DType): Uint8Array => encode(noise, dtype);
const bytesOfNoise = {
  float32: noiseIn('float32'),
  float16: noiseIn('float16'),
  bfloat16: noiseIn('bfloat16'),
} as const;
type Float = keyof typeof bytesOfNoise;
const dtypeArbitrary = fc.constantFrom<Float[]>('float32', 'float16', 'bfloat16');

/** Memory with `count` numbers whose pattern fits no matrix. */
function filled(engine: Engine, count: number, dtype: Float = 'float32'): number {
  const bytes = sizeOf[dtype] * count;
  const at = engine.alloc(bytes);
  const from = bytesOfNoise[dtype];
  for (let done = 0; done < bytes; done += from.length)
    engine.bytes.set(from.subarray(0, bytes - done), at + done);
  return at;
}

/**
 * The first of `count` results whose bits differ between packing at the call and a weight that was packed before; -1: none.
 * Undefined when there is nothing to pack.
 */
function firstDifference(
  engine: Engine,
  kernel: Packable<(first: number, second: number, out: number) => void>,
  pointers: readonly [number, number],
  weight: 0 | 1,
  count: number,
): number | undefined {
  const once = kernel.packed?.();
  if (!once) return undefined;
  const copy = engine.alloc(once.bytes);
  const out = engine.alloc(4 * count);
  const bits = (run: typeof kernel.run, [first, second]: readonly number[]): Uint32Array => {
    engine.bytes.fill(0xff, out, out + 4 * count);
    run(first!, second!, out);
    return new Uint32Array(engine.memory.buffer, out, count).slice();
  };
  const want = bits(kernel.run, pointers);
  once.pack(pointers[weight], copy);
  const got = bits(once.run, pointers.with(weight, copy));
  for (const at of [copy, out]) engine.free(at);
  return got.findIndex((v, i) => v !== want[i]);
}

test('products of any size, side, dtype, stride and number of batches', () => {
  const size = fc.oneof(fc.constantFrom(0, 1, 2), fc.integer({ min: 1, max: 60 }));
  const arbitrary = fc.record({
    m: fc.oneof(size, fc.constantFrom(100, 145)),
    n: fc.oneof(size, fc.constantFrom(96, 530)),
    k: fc.oneof(size, fc.integer({ min: 500, max: 1100 })),
    batches: fc.integer({ min: 1, max: 3 }),
    shared: fc.boolean(),
    weight: fc.constantFrom<('a' | 'b')[]>('a', 'b'),
    dtype: dtypeArbitrary,
    transposed: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()),
    gap: fc.constantFrom(1, 3),
  });
  fc.assert(
    fc.property(
      arbitrary,
      engineArbitrary,
      tileArbitrary,
      ({ m, n, k, batches, shared, weight, dtype, transposed, gap }, engine, tile) => {
        const strides = (rows: number, columns: number, flip: boolean): [number, number] =>
          flip ? [gap, gap * rows] : [gap * columns, gap];
        const [aRow, aK] = strides(m, k, transposed[0]);
        const [bK, bColumn] = strides(k, n, transposed[1]);
        const [row, column] = transposed[2] ? [1, m] : [n, 1];
        const [aTypes, bTypes] = weight === 'a' ? [dtype, 'float32'] as const : ['float32', dtype] as const;
        const at = (side: 'a' | 'b', i: number): number => (shared && side === weight ? 0 : i);
        const spec: ProductSpec = {
          m, n, k, weight,
          a: { dtype: aTypes, row: aRow, k: aK },
          b: { dtype: bTypes, k: bK, column: bColumn },
          c: { row, column },
          batches: Array.from(
            { length: batches },
            (_, i) => [at('a', i) * gap * m * k, at('b', i) * gap * k * n, i * m * n] as const,
          ),
        }; // prettier-ignore
        const a = filled(engine, batches * gap * m * k, aTypes);
        const b = filled(engine, batches * gap * k * n, bTypes);
        const kernel = prepareProduct(engine, spec, tile);
        const difference = firstDifference(engine, kernel, [a, b], weight === 'a' ? 0 : 1, batches * m * n);
        expect(difference).toBe(m * n * k > 0 ? -1 : undefined);
        const [lanes, width] = weight === 'a' ? [m, tile.mr] : [n, tile.nr];
        const bytes = 4 * (shared ? 1 : batches) * Math.ceil(lanes / width) * width * k;
        expect(kernel.packed?.()?.bytes).toBe(m * n * k > 0 ? bytes : undefined);
        for (const p of [a, b]) engine.free(p);
      },
    ),
    { numRuns: 300 },
  );
}); // prettier-ignore

test('a product of two activations has nothing to pack', () => {
  const spec: ProductSpec = {
    m: 8, n: 8, k: 8, a: { dtype: 'float32', row: 8, k: 1 }, b: { dtype: 'float32', k: 8, column: 1 },
    c: { row: 8, column: 1 }, batches: [[0, 0, 0]],
  }; // prettier-ignore
  expect(prepareProduct(engines[0]!, spec, tiles[0]!).packed?.()).toBeUndefined();
});

type Four = readonly [number, number, number, number];

/** Strides of a shape whose dimensions lie in memory in this order, the last one `gap` apart. */
function stridesOf(shape: Four, order: readonly number[], gap = 1): number[] {
  const strides = [0, 0, 0, 0];
  let step = gap;
  for (const d of order.toReversed()) {
    strides[d] = step;
    step *= shape[d]!;
  }
  return strides;
}

type Weighted = ConvSpec & { readonly weight: { readonly dtype: Float } };

function checkConv(engine: Engine, spec: Weighted, kernel: ReturnType<typeof prepareConv>, room: number): void {
  const count = (shape: Four): number => shape.reduce((a, b) => a * b, 1);
  const x = filled(engine, count(spec.x.shape));
  const weight = filled(engine, room * count(spec.weight.shape), spec.weight.dtype);
  expect(firstDifference(engine, kernel, [x, weight], 1, count(spec.y.shape))).toBe(-1);
  for (const p of [x, weight]) engine.free(p);
} // prettier-ignore

const orders = [
  [0, 1, 2, 3],
  [0, 2, 3, 1], // channels last
  [1, 0, 2, 3], // no run of constant stride for the gathering: copied first
];

const convArbitrary = fc
  .record({
    n: fc.integer({ min: 1, max: 2 }),
    groups: fc.integer({ min: 1, max: 3 }),
    channels: fc.integer({ min: 1, max: 5 }),
    outputs: fc.integer({ min: 1, max: 9 }),
    kernel: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
    size: fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 11 })),
    stride: fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 2 })),
    dilation: fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 2 })),
    padding: fc.tuple(fc.nat(2), fc.nat(2), fc.nat(2), fc.nat(2)),
    order: fc.constantFrom(...orders),
    gap: fc.constantFrom(1, 2),
    dtype: dtypeArbitrary,
  })
  .map(({ n, groups, channels, outputs, kernel, size, order, gap, dtype, ...rest }): Weighted => {
    const { stride, dilation, padding } = rest;
    const [reachH, reachW] = [(kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1];
    const [h, w] = [size[0] + reachH, size[1] + reachW];
    const weight: Four = [groups * outputs, channels, ...kernel];
    const x: Four = [n, groups * channels, h, w];
    const y: Four = [
      n,
      groups * outputs,
      Math.floor((h + padding[0] + padding[1] - reachH) / stride[0]) + 1,
      Math.floor((w + padding[2] + padding[3] - reachW) / stride[1]) + 1,
    ];
    return {
      x: { dtype: 'float32', shape: x, strides: stridesOf(x, orders[0]!) },
      weight: { dtype, shape: weight, strides: stridesOf(weight, order, gap) },
      y: { shape: y, strides: stridesOf(y, orders[0]!) },
      stride, dilation, padding, groups,
    }; // prettier-ignore
  });

test('convolutions: gathered and pointwise, in groups, with weights of any layout', () => {
  fc.assert(
    fc.property(convArbitrary, engineArbitrary, tileArbitrary, (spec, engine, tile) =>
      checkConv(engine, spec, prepareConv(engine, spec, tile), 2),
    ),
    { numRuns: 300 },
  );
});

test('Winograd: transformed once, for every band of tiles', () => {
  const arbitrary = fc.record({
    n: fc.integer({ min: 1, max: 2 }),
    c: fc.integer({ min: 1, max: 20 }),
    o: fc.integer({ min: 1, max: 20 }),
    h: fc.constantFrom(3, 7, 16, 41),
    w: fc.constantFrom(3, 8, 19, 130), // rows of 68 tiles: bands of seven rows, and a lower one at the end
    last: fc.boolean(),
    dtype: dtypeArbitrary,
  });
  fc.assert(
    fc.property(arbitrary, engineArbitrary, ({ n, c, o, h, w, last, dtype }, engine) => {
      const [x, weight, y]: [Four, Four, Four] = [
        [n, c, h, w],
        [o, c, 3, 3],
        [n, o, h, w],
      ];
      const spec: Weighted = {
        x: { dtype: 'float32', shape: x, strides: stridesOf(x, orders[0]!) },
        weight: { dtype, shape: weight, strides: stridesOf(weight, orders[last ? 1 : 0]!) },
        y: { shape: y, strides: stridesOf(y, orders[0]!) },
        stride: [1, 1], dilation: [1, 1], padding: [1, 1, 1, 1], groups: 1,
      }; // prettier-ignore
      checkConv(engine, spec, prepareWinograd(engine, spec, tiles[0]!), 1);
    }),
    { numRuns: 60 },
  );
});
