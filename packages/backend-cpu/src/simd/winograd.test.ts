import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { roundingOfSum } from '@darkroom/core/testing';
import { prepareConv } from './conv2d.ts';
import type { ConvSpec } from './conv2d.ts';
import { Engine } from './engine.ts';
import { tiles } from './product.ts';
import { prepareWinograd } from './winograd.ts';

const engine = await Engine.create({ threads: 2 });
afterAll(() => engine.dispose());

/** Winograd's transforms add and subtract neighbours: a few times the rounding of the direct sums, both ways. */
const transforms = 4;

test('agrees with the direct product for any size, padding and input layout', () => {
  const side = fc.integer({ min: 3, max: 37 });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 20 }),
      side,
      side,
      fc.tuple(fc.nat(2), fc.nat(2), fc.nat(2), fc.nat(2)),
      fc.boolean(),
      (n, c, o, h, w, [top, bottom, left, right], last) => {
        const [oh, ow] = [h + top + bottom - 2, w + left + right - 2];
        const spec: ConvSpec = {
          x: {
            dtype: 'float32',
            shape: [n, c, h, w],
            strides: last ? [c * h * w, 1, w * c, c] : [c * h * w, h * w, w, 1],
          },
          weight: {
            dtype: 'float32',
            shape: [o, c, 3, 3],
            strides: last ? [9 * c, 1, 3 * c, c] : [9 * c, 9, 3, 1],
          },
          y: { shape: [n, o, oh, ow], strides: [o * oh * ow, oh * ow, ow, 1] },
          stride: [1, 1],
          padding: [top, bottom, left, right],
          dilation: [1, 1],
          groups: 1,
        };
        const sizes = [n * c * h * w, 9 * o * c, n * o * oh * ow, n * o * oh * ow];
        const [x, weight, y, z] = sizes.map((s) => engine.alloc(4 * s)) as [number, number, number, number];
        const floats = (at: number, s: number): Float32Array => new Float32Array(engine.memory.buffer, at, s);
        floats(x, sizes[0]!).forEach((_, i, a) => (a[i] = Math.sin(i * 12.9898)));
        floats(weight, sizes[1]!).forEach((_, i, a) => (a[i] = Math.cos(i * 78.233)));
        floats(y, sizes[2]!).fill(NaN);
        prepareWinograd(engine, spec, tiles[0]!).run(x, weight, y);
        prepareConv(engine, spec, tiles[1]!).run(x, weight, z);
        const want = floats(z, sizes[3]!);
        // Products of sines and cosines have a mean magnitude of (2/π)².
        const allowed = transforms * roundingOfSum(9 * c, 9 * c * (2 / Math.PI) ** 2);
        floats(y, sizes[2]!).forEach((v, i) => {
          const error = Math.abs(v - want[i]!);
          expect(error <= allowed, `element ${i}: error ${error}, allowed ${allowed}`).toBe(true);
        });
        for (const p of [x, weight, y, z]) engine.free(p);
      },
    ),
    { numRuns: 200 },
  );
});
