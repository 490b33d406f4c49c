// Cases of products by the sizes that name them; tests and benchmarks have them in common.

import type { KernelOp } from '../../ops/table.ts';
import type { InputSpec } from '../inputs.ts';
import type { KernelCase } from '../kernel-case.ts';

type Size4 = readonly [number, number, number, number];

/** A convolution of one group with padding that keeps the size. */
export function convCase(
  name: string,
  x: Size4,
  weight: Size4,
  more: { stride?: number; last?: boolean; bias?: boolean } = {},
): KernelCase {
  const { stride = 1, last = false, bias = false } = more;
  const p = Math.floor(weight[2] / 2);
  const layout = last ? 'channelsLast' : 'contiguous';
  const op: KernelOp = {
    kind: 'conv2d',
    stride: [stride, stride],
    padding: [p, p, p, p],
    dilation: [1, 1],
    groups: 1,
    ...(bias && { epilogue: ['add', ['in', 0], ['in', 1]] }),
  };
  const inputs: InputSpec[] = [
    { shape: x, layout },
    { shape: weight, layout },
  ];
  return { name: `conv2d ${name}`, op, inputs: bias ? [...inputs, { shape: [weight[0], 1, 1] }] : inputs };
}

/** x [m, k] times a weight [n, k], plus a bias. */
export function linearCase(m: number, k: number, n: number): KernelCase {
  return {
    name: `matmul linear ${m}x${k}x${n}`,
    op: { kind: 'matmul', epilogue: ['add', ['in', 0], ['in', 1]] },
    inputs: [{ shape: [m, k] }, { shape: [k, n], layout: 'permuted' }, { shape: [n] }],
  };
}

/** Attention of `l` queries over `s` keys. */
export function attentionCase(b: number, heads: number, l: number, s: number, d: number): KernelCase {
  const qkv = (tokens: number): InputSpec => ({ shape: [b, heads, tokens, d] });
  return {
    name: `attention ${b}x${heads} ${l}x${s} d${d}`,
    op: { kind: 'attention', scale: 1 / Math.sqrt(d), mask: 'none' },
    inputs: [qkv(l), qkv(s), qkv(s)],
  };
}
