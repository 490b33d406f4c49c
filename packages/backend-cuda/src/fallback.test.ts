// A library that fails or refuses: our own kernel runs, the numbers are right, and a record says what happened.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { keep, linear, log, randomNormal, scope } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { CublasLtMatmul } from './libraries/cublaslt-matmul.ts';
import { openCuda } from './node/addon.ts';
import { emulatorIsMissing } from './node/testing.ts';
import { openDevice } from './open.ts';
import type { CudaBackend } from './backend.ts';
import type { Prepared } from './provider.ts';

const failure = (): never => {
  throw Object.assign(
    new Error('libcublasLt: cublasLtMatmul failed with 13: CUBLAS_STATUS_EXECUTION_FAILED'),
    {
      library: 'libcublasLt',
      code: 13,
    },
  );
};

describe.skipIf(emulatorIsMissing())('a library that fails', () => {
  let device: Device;
  const backend = (): CudaBackend => device.backend as CudaBackend;
  const warnings: string[] = [];
  beforeEach(() => {
    vi.spyOn(log, 'warn').mockImplementation((text) => void warnings.push(text));
    vi.spyOn(CublasLtMatmul.prototype, 'choices').mockImplementation(({ kind }) =>
      kind === 'matmul' ? [{ id: 'cublaslt' }] : [],
    );
    const found = openCuda({ emulator: true });
    device = openDevice({ ...found, cublasLt: { version: () => 1 } as never }, { cache: false });
  });
  afterEach(() => {
    device[Symbol.dispose]();
    vi.restoreAllMocks();
    warnings.length = 0;
  });

  /** Twice the product of float16 matrices, for which libraries come first, compared with our own kernels alone. */
  async function isRight(): Promise<void> {
    const own = openDevice(openCuda({ emulator: true }), { cache: false, libraries: 'none' });
    const product = async (on: Device): Promise<unknown> => {
      const [x, w] = [1, 2].map((seed) =>
        keep(randomNormal([8, 32], { seed, device: on, dtype: 'float16' })),
      );
      const y = scope(() => keep(linear(x!, w!)));
      const z = scope(() => keep(linear(x!, w!)));
      const out = [await y.data(), await z.data()];
      for (const t of [x!, w!, y, z]) t.dispose();
      return out;
    };
    expect(await product(device)).toEqual(await product(own));
    expect(backend().faults.length > 0).toBe(true);
    expect((own.backend as CudaBackend).faults).toEqual([]);
    own[Symbol.dispose]();
  }

  test('when it prepares', async () => {
    vi.spyOn(CublasLtMatmul.prototype, 'prepare').mockImplementation(failure);
    await isRight();
    expect(backend().faults).toEqual([
      { kind: 'library-failed', op: 'matmul', choice: 'cublaslt', message: expect.stringContaining('EXECUTION_FAILED') as string },
    ]); // prettier-ignore
    expect(warnings[0]).toMatch(/^cuda: matmul\/cublaslt: libcublasLt: .*; running our own kernel instead$/);
  });
  test('when it first runs', async () => {
    const broken: Prepared = { scratch: [64], fits: () => true, run: failure };
    vi.spyOn(CublasLtMatmul.prototype, 'prepare').mockReturnValue(broken);
    await isRight();
    expect(backend().faults.map(({ kind, choice }) => [kind, choice])).toEqual([
      ['library-failed', 'cublaslt'],
    ]);
  });
  test('when it refuses the choice, which is only kept', async () => {
    vi.spyOn(CublasLtMatmul.prototype, 'prepare').mockReturnValue(undefined);
    await isRight();
    expect(backend().faults.map((f) => f.kind)).toEqual(['library-refused']);
    expect(backend().faults[0]!.message).toBe(
      'cuda: matmul/cublaslt: refused for float16[8,32] float16[32,8] float16[8,8]',
    );
    expect(warnings).toEqual([]);
  });
  test('when arguments are not aligned', async () => {
    const never: Prepared = { scratch: [], fits: () => false, run: failure };
    vi.spyOn(CublasLtMatmul.prototype, 'prepare').mockReturnValue(never);
    await isRight();
    expect(backend().faults.map(({ kind, op }) => [kind, op])).toEqual([['choice', 'matmul']]);
  });
  test('when asked for its choices', async () => {
    vi.spyOn(CublasLtMatmul.prototype, 'choices').mockImplementation(({ kind }) =>
      kind === 'matmul' ? failure() : [],
    );
    await isRight();
    expect(backend().faults.map(({ kind, choice }) => [kind, choice])).toEqual([
      ['library-failed', 'cublaslt'],
    ]);
  });
});
