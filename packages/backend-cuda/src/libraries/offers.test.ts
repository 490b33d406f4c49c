// Order of the choices per op, on a described H100 with both libraries, and with none.

import { describe, expect, test } from 'vitest';
import { activations } from '@darkroom/core';
import { layoutOf } from '@darkroom/core/backend';
import type { DType, Expr, MemoryFormat } from '@darkroom/core';
import type { ArgSpec, AttentionOp, Conv2dOp, KernelOp, MatmulOp } from '@darkroom/core/backend';
import type { SharedOp } from '@darkroom/gpu-kernels';
import { factoryOf } from '../kernels/index.ts';
import { loadAddon } from '../node/addon.ts';
import { traitsOfArchitecture } from '../node/testing.ts';
import { CublasLtMatmul } from './cublaslt-matmul.ts';
import { FakeCublasLt } from './cublaslt-testing.ts';
import { cudnnIsMissing, describedBackend, describedCudnn } from './cudnn-testing.ts';

const missing = cudnnIsMissing();
const of = (dtype: DType, shape: number[], format?: MemoryFormat): ArgSpec => ({
  dtype,
  layout: layoutOf(shape, format),
});

const sum: Expr = ['add', ['in', 0], ['in', 1]];
const matmul = (dtype: DType, op: Partial<MatmulOp> = {}): [KernelOp, ArgSpec[]] => [
  { kind: 'matmul', ...op },
  [[64, 96], [96, 128], ...(op.epilogue ? [[128]] : []), [64, 128]].map((s) => of(dtype, s)),
];
const conv2d = (
  dtype: DType,
  op: Partial<Conv2dOp> = {},
  weight: MemoryFormat = 'channelsLast',
  channels = 64,
  side = 32,
): [KernelOp, ArgSpec[]] => [
  { kind: 'conv2d', stride: [1, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 1, ...op },
  [
    of(dtype, [2, channels, side, side], 'channelsLast'),
    of(dtype, [channels, channels, 3, 3], weight),
    ...(op.epilogue ? [of(dtype, [channels, 1, 1])] : []),
    of(dtype, [2, channels, side, side], 'channelsLast'),
  ],
];
const attention = (dtype: DType, mask: AttentionOp['mask'] = 'none'): [KernelOp, ArgSpec[]] => [
  { kind: 'attention', scale: 0.125, mask },
  [
    [2, 8, 64, 64],
    [2, 8, 77, 64],
    [2, 8, 77, 64],
    ...(mask === 'additive' ? [[64, 77]] : []),
    [2, 8, 64, 64],
  ].map((s) => of(dtype, s)),
];

/** 'own' stands for one or more kernels of ours in a row. */
const table: readonly [name: string, offered: string, problem: [KernelOp, ArgSpec[]]][] = [
  ['matmul float16', 'cublaslt own', matmul('float16')],
  ['matmul bfloat16 with a bias', 'cublaslt own', matmul('bfloat16', { epilogue: sum })],
  ['matmul tf32', 'cublaslt own', matmul('float32', { precision: 'tf32' })],
  ['matmul float32', 'own cublaslt', matmul('float32')],
  ['matmul with relu', 'own', matmul('float16', { epilogue: activations.relu(sum) })],
  ['matmul with gelu', 'own', matmul('float16', { epilogue: activations.gelu(sum) })],
  ['conv2d float16', 'cudnn own', conv2d('float16')],
  [
    'conv2d bfloat16 with bias and silu',
    'cudnn own',
    conv2d('bfloat16', { epilogue: activations.silu(sum) }),
  ],
  ['conv2d tf32 with a bias', 'cudnn own', conv2d('float32', { precision: 'tf32', epilogue: sum })],
  ['conv2d float32', 'own cudnn', conv2d('float32')],
  ['conv2d float16 of few tiles', 'own cudnn', conv2d('float16', {}, 'channelsLast', 1280, 8)],
  [
    'conv2d tf32 of few tiles',
    'own cudnn',
    conv2d('float32', { precision: 'tf32', epilogue: sum }, 'channelsLast', 1280, 8),
  ],
  ['conv2d float16 of many tiles', 'cudnn own', conv2d('float16', {}, 'channelsLast', 320, 64)],
  ['conv2d with relu', 'own', conv2d('float16', { epilogue: activations.relu(sum) })],
  ['conv2d with a weight of another format', 'own', conv2d('float16', {}, 'contiguous')],
  ['attention float16', 'cudnn own', attention('float16')],
  ['attention bfloat16', 'cudnn own', attention('bfloat16')],
  ['attention float32', 'own', attention('float32')],
  ['attention causal', 'own', attention('float16', 'causal')],
  ['attention with a mask', 'own', attention('float16', 'additive')],
  ['softmax', 'own', [{ kind: 'softmax', axis: 1 }, [of('float16', [4, 4]), of('float16', [4, 4])]]],
  [
    'map',
    'own',
    [
      { kind: 'map', expr: sum, dtype: 'float16' },
      [of('float16', [4]), of('float16', [4]), of('float16', [4])],
    ],
  ],
  [
    'custom',
    '',
    [
      { kind: 'custom', name: 'x', output: { shape: [1], dtype: 'float32' }, sources: {} },
      [of('float32', [1])],
    ],
  ],
];

const traits = traitsOfArchitecture(90);
const ours = (op: KernelOp, args: readonly ArgSpec[]): readonly string[] =>
  op.kind === 'custom' ? [] : factoryOf(op as SharedOp)!.choices(op as SharedOp, args, traits);

describe.skipIf(missing)('on sm_90 with both libraries', () => {
  const libraries = missing
    ? []
    : [new CublasLtMatmul(new FakeCublasLt(loadAddon().driver)), describedCudnn('sm_90')];
  const backend = describedBackend('sm_90', libraries);

  test.each(table)('%s: %s', (_, offered, [op, args]) => {
    const ids = backend.choices(op, args).map((c) => c.id);
    const library = (id: string): string | undefined =>
      ['cublaslt', 'cudnn'].find((l) => id === l || id.startsWith(`${l}-`));
    const from = ids.map((id) => library(id) ?? 'own');
    expect(from.filter((name, i) => name !== from[i - 1]).join(' ')).toBe(offered);
    expect(ids.filter((id) => !library(id))).toEqual(ours(op, args));
    for (const name of ['cublaslt', 'cudnn']) {
      // The default first, then numbered; all different, and plain data.
      const own = ids.filter((id) => library(id) === name);
      expect(own).toEqual(own.map((_, i) => (i === 0 ? name : `${name}-${i}`)));
    }
    expect(JSON.parse(JSON.stringify(backend.choices(op, args)))).toEqual(backend.choices(op, args));
  });
});

describe('without libraries', () => {
  test.each(table)('%s: exactly our own kernels', (_, __, [op, args]) => {
    expect(describedBackend('sm_90', []).choices(op, args)).toEqual(ours(op, args).map((id) => ({ id })));
  });
});
