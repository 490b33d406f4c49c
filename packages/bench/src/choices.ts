// Compares every algorithm that a device has for a product with the oracle. The libraries' algorithms and engines are
// known only with the library on a device, and other tests run only the first one.

import { activations } from '@darkroom/core';
import type { Device, DType, Expr } from '@darkroom/core';
import type { Conv2dOp } from '@darkroom/core/backend';
import type { InputSpec, KernelCase } from '@darkroom/core/testing';
import { chosen, differenceOf, nameOf, resultOf } from './verify/compare.ts';
import type { ChosenCase, Result } from './verify/compare.ts';

const sum: Expr = ['add', ['in', 0], ['in', 1]];
const both: Expr = ['add', sum, ['in', 2]];
const conv: Conv2dOp = { kind: 'conv2d', stride: [1, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 1 };

/** Products as models have them, small; sizes are whole vectors and tiles' edges. */
export function casesOf(dtype: DType): KernelCase[] {
  const of = (shape: number[], layout: InputSpec['layout'] = 'contiguous'): InputSpec => ({ shape, dtype, layout: layout! });
  const image = (...shape: number[]): InputSpec => of(shape, 'channelsLast');
  const tf32 = dtype === 'float32' ? ([{}, { precision: 'tf32' }] as const) : ([{}] as const);
  const products = tf32.flatMap((p): KernelCase[] => [
    { name: 'linear', op: { kind: 'matmul', ...p, epilogue: sum }, inputs: [of([2, 77, 320]), of([320, 640], 'permuted'), of([640])] },
    { name: 'residual', op: { kind: 'matmul', ...p, epilogue: both }, inputs: [of([130, 64]), of([64, 96]), of([96]), of([130, 96])] },
    { name: 'scaled', op: { kind: 'matmul', ...p, epilogue: ['mul', ['in', 0], 0.125] }, inputs: [of([3, 40, 72]), of([3, 72, 56])] },
    { name: 'transposed', op: { kind: 'matmul', ...p }, inputs: [of([136, 200], 'permuted'), of([200, 72])] },
    { name: 'long sum', op: { kind: 'matmul', ...p }, inputs: [of([16, 5120]), of([5120, 64])] },
    { name: '3x3', op: { ...conv, ...p }, inputs: [image(2, 64, 16, 16), image(96, 64, 3, 3)] },
    { name: '3x3 contiguous', op: { ...conv, ...p, epilogue: sum }, inputs: [of([2, 64, 16, 16]), of([96, 64, 3, 3]), of([96, 1, 1])] },
    { name: '3x3 residual', op: { ...conv, ...p, epilogue: both }, inputs: [image(2, 64, 16, 16), image(64, 64, 3, 3), of([64, 1, 1]), image(2, 64, 16, 16)] },
    { name: '3x3 embedding', op: { ...conv, ...p, epilogue: both }, inputs: [image(2, 64, 16, 16), image(64, 64, 3, 3), of([64, 1, 1]), of([2, 64, 1, 1])] },
    { name: '3x3 silu', op: { ...conv, ...p, epilogue: activations.silu(sum) }, inputs: [image(1, 32, 20, 12), image(40, 32, 3, 3), of([40, 1, 1])] },
    { name: '3x3 gelu', op: { ...conv, ...p, epilogue: activations.gelu(sum) }, inputs: [image(1, 32, 20, 12), image(40, 32, 3, 3), of([40, 1, 1])] },
    { name: 'first', op: { ...conv, ...p, epilogue: sum }, inputs: [image(2, 4, 32, 32), image(320, 4, 3, 3), of([320, 1, 1])] },
    { name: 'last', op: { ...conv, ...p, epilogue: sum }, inputs: [image(1, 128, 24, 24), image(3, 128, 3, 3), of([3, 1, 1])] },
    { name: 'downsampling', op: { ...conv, ...p, stride: [2, 2], padding: [0, 1, 0, 1], epilogue: sum }, inputs: [image(1, 32, 16, 16), image(32, 32, 3, 3), of([32, 1, 1])] },
    { name: 'groups', op: { ...conv, ...p, groups: 4, dilation: [2, 1] }, inputs: [image(1, 32, 15, 9), image(64, 8, 3, 3)] },
    { name: '1x1', op: { ...conv, ...p, padding: [0, 0, 0, 0], epilogue: sum }, inputs: [image(2, 96, 8, 8), image(32, 96, 1, 1), of([32, 1, 1])] },
  ]);
  const heads = (queries: number, keys: number, d: number, mask: 'none' | 'causal' = 'none'): KernelCase => ({
    name: `attention ${queries}x${keys} d${d} ${mask}`,
    op: { kind: 'attention', scale: d ** -0.5, mask },
    inputs: [of([2, 4, queries, d]), of([2, 4, keys, d]), of([2, 4, keys, d])],
  });
  const attentions = [heads(256, 256, 40), heads(256, 77, 40), heads(70, 130, 80), heads(64, 77, 160), heads(77, 77, 64, 'causal')];
  return [...products, ...attentions].map((c) => ({ ...c, name: `${dtype} ${'precision' in c.op ? 'tf32 ' : ''}${c.name}` }));
} // prettier-ignore

/**
 * Runs a case by one choice of `device`; resolves to how it differs from `oracle`, undefined where it agrees. The
 * oracle runs a case once for all choices that follow each other.
 */
export function checkChoice(device: Device, oracle: Device): (c: ChosenCase) => Promise<string | undefined> {
  let known: { readonly test: KernelCase; readonly want: Promise<Result> } | undefined;
  return async (c) => {
    if (known?.test !== c.test) known = { test: c.test, want: resultOf(c.test, oracle) };
    const want = await known.want;
    try {
      const got = await resultOf(c.test, chosen(device, c));
      const { share, at, got: a, want: b } = differenceOf(got.values, want);
      if (share <= 1) return undefined;
      const { atol, rtol } = want.tolerance;
      return `${nameOf(c)}: element ${at} is ${a}, the oracle has ${b} (${share.toFixed(1)} times what atol ${atol}, rtol ${rtol} allow)`;
    } catch (error) {
      return `${nameOf(c)}: ${(error as Error).message.slice(0, 300)}`;
    }
  };
}
