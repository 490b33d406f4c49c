// Cases of kind 'op': one torch op each, by core's public functions.

import {
  add, attention, concat, conv2d, embedding, geglu, gelu, geluTanh, groupNorm, layerNorm, linear, pad, quickGelu,
  resize, silu, softmax,
} from '@darkroom/core'; // prettier-ignore
import type { Tensor } from '@darkroom/core';
import { guide, rescaleGuidance, timestepEmbedding, TorchCpuGenerator } from '@darkroom/diffusers';
import { lookUp } from '@darkroom/diffusers/testing';
import type { CaseContext, CaseResult } from './context.ts';

type Inputs = Readonly<Record<string, Tensor>>;
type Params = Readonly<Record<string, unknown>>;

const number = (p: Params, key: string): number => p[key] as number;

const both = (v: unknown): [number, number] =>
  Array.isArray(v) ? (v as [number, number]) : [v as number, v as number];

const ops: Readonly<Record<string, (t: Inputs, p: Params) => Tensor>> = {
  conv2d(t, p) {
    const [left, right, top, bottom] = p['padding'] as readonly number[];
    return conv2d(t['x']!, t['w']!, {
      bias: t['b'],
      stride: both(p['stride']),
      padding: [top!, bottom!, left!, right!],
      dilation: both(p['dilation']),
      groups: number(p, 'groups'),
    });
  },
  linear: (t) => linear(t['x']!, t['w']!, { bias: t['b'] }),
  group_norm: (t, p) =>
    groupNorm(t['x']!, number(p, 'groups'), { weight: t['w'], bias: t['b'], eps: number(p, 'eps') }),
  layer_norm: (t, p) => layerNorm(t['x']!, { weight: t['w'], bias: t['b'], eps: number(p, 'eps') }),
  silu: (t) => silu(t['x']!),
  gelu_erf: (t) => gelu(t['x']!),
  gelu_tanh: (t) => geluTanh(t['x']!),
  quick_gelu: (t) => quickGelu(t['x']!),
  geglu: (t) => geglu(t['x']!),
  softmax: (t, p) => softmax(t['x']!, number(p, 'dim')),
  sdpa: (t, p) =>
    attention(t['q']!, t['k']!, t['v']!, {
      causal: p['causal'] === true,
      scale: (p['scale'] as number | null) ?? undefined,
      mask: t['mask'],
    }),
  upsample_nearest: (t, p) => resize(t['x']!, both(p['size'])),
  timestep_embedding: (t, p) =>
    timestepEmbedding(t['t']!, number(p, 'dim'), {
      flipSinToCos: p['flip_sin_to_cos'] === true,
      freqShift: number(p, 'downscale_freq_shift'),
      scale: number(p, 'scale'),
      maxPeriod: number(p, 'max_period'),
    }),
  embedding: (t) => embedding(t['w']!, t['ids']!),
  add_nc_broadcast: (t) => add(t['x']!, t['t']!.view([...t['t']!.shape, 1, 1])),
  cat_channels: (t) => concat([t['a']!, t['b']!], 1),
  cfg_combine: (t, p) => guide(t['u']!, t['c']!, number(p, 'scale')),
  rescale_noise_cfg: (t, p) => rescaleGuidance(t['cfg']!, t['text']!, number(p, 'guidance_rescale')),
  pad_constant: (t) => pad(t['x']!, [[0, 0], [0, 0], [0, 1], [0, 1]]), // prettier-ignore
};

const torchDtypes = { f32: 'float32', f16: 'float16', bf16: 'bfloat16', f64: 'float64' } as const;

function randn(context: CaseContext): CaseResult {
  const p = context.test.params as {
    seed: number;
    shape?: number[];
    shapes?: number[][];
    dtype: keyof typeof torchDtypes;
  };
  const generator = new TorchCpuGenerator(p.seed);
  const draw = (shape: readonly number[]): ArrayLike<number> =>
    generator.randn(
      shape.reduce((a, b) => a * b, 1),
      torchDtypes[p.dtype],
    );
  if (p.shape) return new Map([['y', draw(p.shape)]]);
  return new Map(p.shapes!.map((shape, i) => [`y${i}`, draw(shape)]));
}

export async function runOp(context: CaseContext): Promise<CaseResult> {
  const { test } = context;
  if (test.op === 'torch_randn' || test.op === 'torch_randn_sequence') return randn(context);
  const run = lookUp(ops, test.op);
  if (!run) return { failure: `op '${test.op}' is not one this version knows` };
  const inputs: Record<string, Tensor> = {};
  for (const name of Object.keys(test.inputs ?? {})) inputs[name] = await context.input(name);
  const result = await context.call({ call: (given: Inputs) => run(given, test.params ?? {}) }, inputs);
  try {
    return new Map([['y', await result.data()]]);
  } finally {
    result.dispose();
  }
}
