// The op case table: shapes that Stable Diffusion runs, and edge cases. Tests and benchmarks both read it.

import type { KernelOp } from '../ops/table.ts';
import { activations } from '../ops/pointwise.ts';
import type { InputSpec } from './inputs.ts';
import type { KernelCase } from './kernel-case.ts';

type Size4 = readonly [number, number, number, number];

function conv(
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

function linear(m: number, k: number, n: number): KernelCase {
  return {
    name: `matmul linear ${m}x${k}x${n}`,
    op: { kind: 'matmul', epilogue: ['add', ['in', 0], ['in', 1]] },
    inputs: [{ shape: [m, k] }, { shape: [k, n], layout: 'permuted' }, { shape: [n] }],
  };
}

function attention(b: number, heads: number, l: number, s: number, d: number): KernelCase {
  const qkv = (tokens: number): InputSpec => ({ shape: [b, heads, tokens, d] });
  return {
    name: `attention ${b}x${heads} ${l}x${s} d${d}`,
    op: { kind: 'attention', scale: 1 / Math.sqrt(d), mask: 'none' },
    inputs: [qkv(l), qkv(s), qkv(s)],
  };
}

/** Every distinct kind of work of an SD 1.5 step at batch 2, at a quarter of its area, and of the VAE. */
export const benchCases: readonly KernelCase[] = [
  { name: 'matmul 1024', op: { kind: 'matmul' }, inputs: [{ shape: [1024, 1024] }, { shape: [1024, 1024] }] },
  conv('3x3 320 64x64', [1, 320, 64, 64], [320, 320, 3, 3]),
  conv('3x3 320 64x64 nhwc', [1, 320, 64, 64], [320, 320, 3, 3], { last: true }),
  conv('3x3 320 32x32 bias', [2, 320, 32, 32], [320, 320, 3, 3], { bias: true }),
  conv('3x3 640 16x16', [2, 640, 16, 16], [640, 640, 3, 3]),
  conv('3x3 1280 8x8', [2, 1280, 8, 8], [1280, 1280, 3, 3]),
  conv('3x3 320 stride 2', [2, 320, 32, 32], [320, 320, 3, 3], { stride: 2 }),
  conv('1x1 640 16x16', [2, 640, 16, 16], [640, 640, 1, 1]),
  conv('in 4 channels', [2, 4, 32, 32], [320, 4, 3, 3]),
  conv('out 4 channels', [2, 320, 32, 32], [4, 320, 3, 3]),
  conv('vae 128 128x128', [1, 128, 128, 128], [128, 128, 3, 3]),
  linear(2048, 320, 320),
  linear(2048, 320, 2560),
  linear(512, 640, 640),
  linear(154, 768, 640),
  linear(2, 1280, 1280),
  attention(2, 8, 1024, 1024, 40),
  attention(2, 8, 1024, 77, 40),
  attention(2, 8, 256, 256, 80),
  attention(2, 8, 64, 64, 160),
  { name: 'groupNorm silu 320 32x32', op: { kind: 'groupNorm', groups: 32, eps: 1e-5, activation: 'silu' }, inputs: [{ shape: [2, 320, 32, 32] }, { shape: [320] }, { shape: [320] }] },
  { name: 'groupNorm silu 320 32x32 nhwc', op: { kind: 'groupNorm', groups: 32, eps: 1e-5, activation: 'silu' }, inputs: [{ shape: [2, 320, 32, 32], layout: 'channelsLast' }, { shape: [320] }, { shape: [320] }] },
  { name: 'layerNorm 2048x320', op: { kind: 'layerNorm', eps: 1e-5 }, inputs: [{ shape: [2048, 320] }, { shape: [320] }, { shape: [320] }] },
  { name: 'softmax 4096x1024', op: { kind: 'softmax', axis: 1 }, inputs: [{ shape: [4096, 1024] }] },
  { name: 'map silu', op: { kind: 'map', expr: activations.silu(['in', 0]), dtype: 'float32' }, inputs: [{ shape: [2, 320, 32, 32] }] },
  { name: 'map add', op: { kind: 'map', expr: ['add', ['in', 0], ['in', 1]], dtype: 'float32' }, inputs: [{ shape: [2, 320, 32, 32] }, { shape: [2, 320, 32, 32] }] },
  { name: 'map geglu', op: { kind: 'map', expr: ['mul', ['in', 0], activations.gelu(['in', 1])], dtype: 'float32' }, inputs: [{ shape: [2048, 1280] }, { shape: [2048, 1280] }] },
  { name: 'copy concat', op: { kind: 'copy', shape: [2, 640, 32, 32], dtype: 'float32', format: 'contiguous', starts: [[0, 0, 0, 0], [0, 320, 0, 0]] }, inputs: [{ shape: [2, 320, 32, 32] }, { shape: [2, 320, 32, 32] }] },
  { name: 'copy to nhwc', op: { kind: 'copy', shape: [2, 320, 32, 32], dtype: 'float32', format: 'channelsLast', starts: [[0, 0, 0, 0]] }, inputs: [{ shape: [2, 320, 32, 32] }] },
  { name: 'resize nearest x2', op: { kind: 'resize', mode: 'nearest', size: [32, 32] }, inputs: [{ shape: [2, 640, 16, 16] }] },
]; // prettier-ignore

/** Small enough for the oracle: larger than random cases are, at sizes where blocking and threads take part. */
export const testCases: readonly KernelCase[] = [
  { name: 'matmul 65x700x130', op: { kind: 'matmul' }, inputs: [{ shape: [65, 700] }, { shape: [700, 130] }] },
  { name: 'matmul f16 weight', op: { kind: 'matmul' }, inputs: [{ shape: [130, 96] }, { shape: [96, 200], dtype: 'float16', layout: 'permuted' }] },
  { name: 'matmul empty', op: { kind: 'matmul' }, inputs: [{ shape: [0, 8] }, { shape: [8, 5] }] },
  { name: 'matmul k 0', op: { kind: 'matmul' }, inputs: [{ shape: [3, 0] }, { shape: [0, 5] }] },
  linear(300, 128, 96),
  linear(2, 320, 320),
  conv('3x3 48 17x19', [2, 48, 17, 19], [40, 48, 3, 3]),
  conv('3x3 48 16x16 nhwc', [2, 48, 16, 16], [40, 48, 3, 3], { last: true, bias: true }),
  conv('3x3 64 stride 2', [1, 64, 17, 16], [33, 64, 3, 3], { stride: 2 }),
  conv('1x1 70 12x20', [2, 70, 12, 20], [50, 70, 1, 1], { bias: true }),
  conv('1x1 70 12x20 nhwc', [2, 70, 12, 20], [50, 70, 1, 1], { last: true }),
  { name: 'conv2d groups, outputs adjacent', op: { kind: 'conv2d', stride: [2, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 3 }, inputs: [{ shape: [1, 36, 4, 10], layout: 'channelsLast' }, { shape: [24, 12, 1, 1], layout: 'permuted' }] },
  { name: 'winograd 48 17x19 nhwc', op: { kind: 'winograd', padding: [1, 1, 1, 1], epilogue: ['add', ['in', 0], ['in', 1]] }, inputs: [{ shape: [2, 48, 17, 19], layout: 'channelsLast' }, { shape: [16, 48, 40] }, { shape: [40, 1, 1] }] },
  attention(1, 2, 130, 77, 40),
  attention(2, 2, 70, 200, 17),
  attention(1, 1, 65, 65, 512),
  { name: 'attention causal 77', op: { kind: 'attention', scale: 0.125, mask: 'causal' }, inputs: [{ shape: [2, 3, 77, 64] }, { shape: [2, 3, 77, 64] }, { shape: [2, 3, 77, 64] }] },
  { name: 'groupNorm big mean', op: { kind: 'groupNorm', groups: 4, eps: 1e-5 }, inputs: [{ shape: [2, 32, 33, 31], values: { below: 1000 } }, { shape: [32] }, { shape: [32] }] },
  { name: 'groupNorm nhwc', op: { kind: 'groupNorm', groups: 5, eps: 1e-6, activation: 'silu' }, inputs: [{ shape: [3, 35, 9, 11], layout: 'channelsLast' }, { shape: [35] }, { shape: [35] }] },
  { name: 'softmax 1000', op: { kind: 'softmax', axis: 1 }, inputs: [{ shape: [70, 1001] }] },
  { name: 'map long row', op: { kind: 'map', expr: activations.gelu(['in', 0]), dtype: 'float32' }, inputs: [{ shape: [70003] }] },
  { name: 'map empty', op: { kind: 'map', expr: ['neg', ['in', 0]], dtype: 'float32' }, inputs: [{ shape: [3, 0, 2] }] },
  { name: 'gather f16 rows', op: { kind: 'gather', axis: 0 }, inputs: [{ shape: [50, 33], dtype: 'float16' }, { shape: [7, 11], dtype: 'int32', values: { below: 50 } }] },
]; // prettier-ignore
