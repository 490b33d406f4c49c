// The kernel cases of the smoke test: sizes that are no multiples of any tile and small enough for the CPU; `tiny` for
// emulated devices, which take a second for every kernel.

import type { Device, DType, Expr } from '@darkroom/core';
import type { Conv2dOp } from '@darkroom/core/backend';
import type { InputSpec, KernelCase } from '@darkroom/core/testing';
import { idsOf } from './compare.ts';
import type { ChosenCase } from './compare.ts';

const of = (shape: readonly number[], dtype: DType, layout?: InputSpec['layout']): InputSpec => ({ shape, dtype, ...(layout && { layout }) }); // prettier-ignore
const sum: Expr = ['add', ['in', 0], ['in', 1]];
const both: Expr = ['add', sum, ['in', 2]];
const conv: Conv2dOp = { kind: 'conv2d', stride: [1, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 1 };

/** The device's choices for a case, those that `keep` wants. */
const each = (device: Device, test: KernelCase, keep: (id: string) => boolean = () => true): ChosenCase[] =>
  idsOf(test, device)
    .filter(keep)
    .map((id) => ({ test, id }));
const first = (device: Device, test: KernelCase): ChosenCase[] => each(device, test).slice(0, 1);
/** True for ids of cuBLASLt's and cuDNN's choices. */
export const isLibrary = (id: string): boolean => id.startsWith('cudnn') || id.startsWith('cublaslt');
const isTensor = (id: string): boolean => /^(mma|direct)/.test(id);

/** A linear layer's product; the weight lies along k as in models, or 'strided'. */
export const product = (
  dtype: DType,
  [m, k, n]: readonly [number, number, number],
  layout: 'direct' | 'strided' = 'direct',
): KernelCase => ({
  name: `${dtype === 'float32' ? 'tf32' : dtype} ${m}x${k}x${n} ${layout}`,
  op: { kind: 'matmul', ...(dtype === 'float32' && { precision: 'tf32' }), epilogue: sum },
  inputs: [
    of([m, k], dtype),
    of([k, n], dtype, layout === 'direct' ? 'permuted' : 'contiguous'),
    of([n], dtype),
  ],
});

/** Kernels without tensor cores. */
export function plainCases(device: Device): ChosenCase[] {
  const types: readonly DType[] = ['float32', 'float16'];
  return types.flatMap((dtype) =>
    (
      [
        { name: `map ${dtype}`, op: { kind: 'map', expr: sum, dtype }, inputs: [of([37, 65], dtype), of([37, 65], dtype)] },
        { name: `copy ${dtype}`, op: { kind: 'copy', shape: [33, 65], dtype, format: 'contiguous', starts: [[0, 0]] }, inputs: [of([33, 65], dtype, 'permuted')] },
        { name: `layerNorm ${dtype}`, op: { kind: 'layerNorm', eps: 1e-5 }, inputs: [of([77, 320], dtype), of([320], dtype), of([320], dtype)] },
      ] as KernelCase[]
    ).flatMap((test) => first(device, test)),
  ); // prettier-ignore
}

/** Ids of all tiles: at so short a sum none is shared, so that all are among the choices. */
function tilesOf(device: Device, dtype: DType): string[] {
  const sizes = [[130, 128, 84], [2048, 128, 320], [64, 128, 1280]] as const; // prettier-ignore
  const ids = sizes.flatMap((size) => idsOf(product(dtype, size), device));
  return [...new Set(ids.filter((id) => isTensor(id) && !id.includes('/')))];
}

/** Every tile on tensor cores in every format, alone and with its sum shared by four. */
export function tileCases(device: Device, tiny: boolean): ChosenCase[] {
  const k = tiny ? 136 : 1032;
  const types: readonly DType[] = tiny ? ['float16'] : ['float16', 'bfloat16', 'float32'];
  return types.flatMap((dtype) => {
    const tiles = tilesOf(device, dtype);
    const direct = product(dtype, [130, k, 84]);
    const cases = tiles.flatMap((id) => [`${id}`, `${id}/4`].map((full) => ({ test: direct, id: full })));
    const strided = product(dtype, [130, k, 84], 'strided');
    const all = [...cases, ...each(device, strided, isTensor).slice(0, 2)];
    return tiny ? all.slice(-2) : all;
  });
}

export const convCase = (dtype: DType, name: 'plain' | 'bias' | 'residual', side: number): KernelCase => ({
  name: `conv2d ${dtype} ${name}`,
  op: { ...conv, ...(name === 'bias' && { epilogue: sum }), ...(name === 'residual' && { epilogue: both }) },
  inputs: [
    of([2, 64, side, side], dtype, 'channelsLast'),
    of([96, 64, 3, 3], dtype, 'channelsLast'),
    ...(name === 'plain' ? [] : [of([96, 1, 1], dtype)]),
    ...(name === 'residual' ? [of([2, 96, side, side], dtype, 'channelsLast')] : []),
  ],
});

export const attentionCase = (dtype: DType, queries: number, keys: number, d: number): KernelCase => ({
  name: `attention ${dtype} ${queries}x${keys} d${d}`,
  op: { kind: 'attention', scale: d ** -0.5, mask: 'none' },
  inputs: [queries, keys, keys].map((n) => of([1, 2, n, d], dtype)),
});

/** The direct convolution, attention by both kernels, GroupNorm by all of its own. */
export function modelCases(device: Device, tiny: boolean): ChosenCase[] {
  const own = (id: string): boolean => !isLibrary(id);
  const heads = tiny ? [40] : [40, 80, 160];
  const norm = (shape: readonly number[], layout: 'contiguous' | 'channelsLast'): KernelCase => ({
    name: `groupNorm ${shape.join('x')} ${layout}`,
    op: { kind: 'groupNorm', groups: 32, eps: 1e-5, activation: 'silu' },
    inputs: [of(shape, 'float16', layout), of([shape[1]!], 'float16'), of([shape[1]!], 'float16')],
  });
  const layouts = ['channelsLast', 'contiguous'] as const;
  return [
    ...each(device, convCase('float16', 'residual', tiny ? 6 : 17), isTensor).slice(0, 2),
    ...heads.flatMap((d) => each(device, attentionCase('float16', tiny ? 70 : 256, 77, d), isTensor)),
    ...layouts.flatMap((layout) => each(device, norm([2, 64, 9, 9], layout), own)),
    ...(tiny ? [] : layouts.flatMap((layout) => each(device, norm([2, 320, 64, 64], layout), own))),
  ];
}

/** Products whose tile asks for more shared memory than a kernel has without asking, on every processor at once. */
export function sharedMemoryCases(device: Device, tiny: boolean): ChosenCase[] {
  if (tiny) return [];
  const test = product('float16', [2048, 320, 1280]);
  const ids = tilesOf(device, 'float16').filter((id) => /x(256|160)$/.test(id));
  return ids.map((id) => ({ test, id }));
}

/** Libraries' choices for a case; at most so many. */
export const libraryCases = (device: Device, test: KernelCase, most: number): ChosenCase[] =>
  each(device, test, isLibrary).slice(0, most);
