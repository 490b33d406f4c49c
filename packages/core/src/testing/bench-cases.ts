// The op shapes that Stable Diffusion runs, for benchmarks.

import { activations } from '../ops/pointwise.ts';
import { attentionCase, convCase, linearCase } from './cases/named.ts';
import type { KernelCase } from './kernel-case.ts';

/** Every distinct kind of work of an SD 1.5 step at batch 2, at a quarter of its area, and of the VAE. */
export const benchCases: readonly KernelCase[] = [
  { name: 'matmul 1024', op: { kind: 'matmul' }, inputs: [{ shape: [1024, 1024] }, { shape: [1024, 1024] }] },
  convCase('3x3 320 64x64', [1, 320, 64, 64], [320, 320, 3, 3]),
  convCase('3x3 320 64x64 nhwc', [1, 320, 64, 64], [320, 320, 3, 3], { last: true }),
  convCase('3x3 320 32x32 bias', [2, 320, 32, 32], [320, 320, 3, 3], { bias: true }),
  convCase('3x3 640 16x16', [2, 640, 16, 16], [640, 640, 3, 3]),
  convCase('3x3 1280 8x8', [2, 1280, 8, 8], [1280, 1280, 3, 3]),
  convCase('3x3 320 stride 2', [2, 320, 32, 32], [320, 320, 3, 3], { stride: 2 }),
  convCase('1x1 640 16x16', [2, 640, 16, 16], [640, 640, 1, 1]),
  convCase('in 4 channels', [2, 4, 32, 32], [320, 4, 3, 3]),
  convCase('out 4 channels', [2, 320, 32, 32], [4, 320, 3, 3]),
  convCase('vae 128 128x128', [1, 128, 128, 128], [128, 128, 3, 3]),
  linearCase(2048, 320, 320),
  linearCase(2048, 320, 2560),
  linearCase(512, 640, 640),
  linearCase(154, 768, 640),
  linearCase(2, 1280, 1280),
  attentionCase(2, 8, 1024, 1024, 40),
  attentionCase(2, 8, 1024, 77, 40),
  attentionCase(2, 8, 256, 256, 80),
  attentionCase(2, 8, 64, 64, 160),
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
