// A library that does not start is left aside with one warning.

import { afterEach, expect, test, vi } from 'vitest';
import { log } from '@darkroom/core';
import { layoutOf } from '@darkroom/core/backend';
import type { ArgSpec } from '@darkroom/core/backend';
import type { CublasLt, Cudnn } from '../node/native.ts';
import { CublasLtMatmul } from './cublaslt-matmul.ts';
import { CudnnLibrary } from './cudnn-library.ts';
import { LazyHandle } from './lazy-handle.ts';

afterEach(() => vi.restoreAllMocks());
const fails = (): never => {
  throw new Error('cublasLtCreate failed with 1: CUBLAS_STATUS_NOT_INITIALIZED');
};

test('makes the handle once, and frees it once', () => {
  let made = 0;
  const freed: number[] = [];
  const handle = new LazyHandle('x', () => ++made);
  expect(made).toBe(0);
  expect([handle.get(), handle.get()]).toEqual([1, 1]);
  handle.dispose((h) => freed.push(h));
  handle.dispose((h) => freed.push(h));
  expect(freed).toEqual([1]);
  expect(handle.get()).toBeUndefined();
});

test('libraries that do not start offer nothing and say so once', () => {
  const warnings = vi.spyOn(log, 'warn').mockImplementation(() => {});
  const of = (shape: number[]): ArgSpec => ({
    dtype: 'float16',
    layout: layoutOf(shape, shape.length === 4 ? 'channelsLast' : 'contiguous'),
  });
  const product = [of([8, 8]), of([8, 8]), of([8, 8])];
  const cublasLt = new CublasLtMatmul({ create: fails } as unknown as CublasLt);
  for (let i = 0; i < 2; i++) expect(cublasLt.choices({ kind: 'matmul' }, product)).toEqual([]);
  expect(cublasLt.prepare({ kind: 'matmul' }, product, { id: 'cublaslt', params: 'AAAA' })).toBeUndefined();

  const cudnn = new CudnnLibrary({ create: fails } as unknown as Cudnn, { hostAddress: () => 0 });
  const op = { kind: 'conv2d', stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 } as const;
  const images = [of([1, 8, 4, 4]), of([8, 8, 1, 1]), of([1, 8, 4, 4])];
  for (let i = 0; i < 2; i++) expect(cudnn.choices(op, images)).toEqual([]);
  expect(cudnn.prepare(op, images, { id: 'cudnn', params: { engine: 1, knobs: [] } })).toBeUndefined();

  expect(warnings.mock.calls.map(([text]) => text)).toEqual([
    'cuda: cuBLASLt does not start and is not used: cublasLtCreate failed with 1: CUBLAS_STATUS_NOT_INITIALIZED',
    'cuda: cuDNN does not start and is not used: cublasLtCreate failed with 1: CUBLAS_STATUS_NOT_INITIALIZED',
  ]);
  cublasLt[Symbol.dispose]();
  cudnn[Symbol.dispose]();
});
