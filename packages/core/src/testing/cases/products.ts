// Cases of the ops that multiply: matmul, conv2d, winograd, attention.

import type { KernelOp } from '../../ops/table.ts';
import type { KernelCase } from '../kernel-case.ts';
import { attentionCase, convCase, linearCase } from './named.ts';
import { finished, make } from './draw.ts';
import type { Arb, Draw } from './draw.ts';

const unit = { values: 'normal' } as const;

function matmul({ fc, size, input }: Draw): Arb<KernelCase> {
  return fc
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
}

function conv2d({ fc, size, input }: Draw): Arb<KernelCase> {
  return fc
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
}

function winograd({ fc, size, input }: Draw): Arb<KernelCase> {
  return fc
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
}

function attention({ fc, size, input }: Draw): Arb<KernelCase> {
  return fc
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
}

/** Random cases by kind. */
export function productArbitraries(
  draw: Draw,
): Readonly<Record<'matmul' | 'conv2d' | 'winograd' | 'attention', Arb<KernelCase>>> {
  return {
    matmul: matmul(draw),
    conv2d: conv2d(draw),
    winograd: winograd(draw),
    attention: attention(draw),
  };
}

/** Small enough for the oracle: sizes at which blocking and threads take part, and edges. */
export const productCases: readonly KernelCase[] = [
  { name: 'matmul 65x700x130', op: { kind: 'matmul' }, inputs: [{ shape: [65, 700] }, { shape: [700, 130] }] },
  { name: 'matmul f16 weight', op: { kind: 'matmul' }, inputs: [{ shape: [130, 96] }, { shape: [96, 200], dtype: 'float16', layout: 'permuted' }] },
  { name: 'matmul empty', op: { kind: 'matmul' }, inputs: [{ shape: [0, 8] }, { shape: [8, 5] }] },
  { name: 'matmul k 0', op: { kind: 'matmul' }, inputs: [{ shape: [3, 0] }, { shape: [0, 5] }] },
  linearCase(300, 128, 96),
  linearCase(2, 320, 320),
  convCase('3x3 48 17x19', [2, 48, 17, 19], [40, 48, 3, 3]),
  convCase('3x3 48 16x16 nhwc', [2, 48, 16, 16], [40, 48, 3, 3], { last: true, bias: true }),
  convCase('3x3 64 stride 2', [1, 64, 17, 16], [33, 64, 3, 3], { stride: 2 }),
  convCase('1x1 70 12x20', [2, 70, 12, 20], [50, 70, 1, 1], { bias: true }),
  convCase('1x1 70 12x20 nhwc', [2, 70, 12, 20], [50, 70, 1, 1], { last: true }),
  { name: 'conv2d groups, outputs adjacent', op: { kind: 'conv2d', stride: [2, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 3 }, inputs: [{ shape: [1, 36, 4, 10], layout: 'channelsLast' }, { shape: [24, 12, 1, 1], layout: 'permuted' }] },
  { name: 'winograd 48 17x19 nhwc', op: { kind: 'winograd', padding: [1, 1, 1, 1], epilogue: ['add', ['in', 0], ['in', 1]] }, inputs: [{ shape: [2, 48, 17, 19], layout: 'channelsLast' }, { shape: [16, 48, 40] }, { shape: [40, 1, 1] }] },
  attentionCase(1, 2, 130, 77, 40),
  attentionCase(2, 2, 70, 200, 17),
  attentionCase(1, 1, 65, 65, 512),
  { name: 'attention causal 77', op: { kind: 'attention', scale: 0.125, mask: 'causal' }, inputs: [{ shape: [2, 3, 77, 64] }, { shape: [2, 3, 77, 64] }, { shape: [2, 3, 77, 64] }] },
]; // prettier-ignore
