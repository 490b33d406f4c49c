import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { log, matmul, tensor } from '@darkroom/core';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { cuda } from '../open.ts';
import { cubinFiles } from './cubin-files.ts';
import { emulatorIsMissing } from './testing.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'darkroom-cubins-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const files = (): string[] => readdirSync(folder).map((name) => join(folder, name));
const cubin = Uint8Array.from({ length: 300 }, (_, i) => i % 251);

/** Damaged files: cut, longer, some bits changed, from before the head was written. */
const damage = fc.oneof(
  fc.nat(343).map((length) => (file: Buffer) => file.subarray(0, length)),
  fc.uint8Array({ minLength: 1, maxLength: 9 }).map((more) => (file: Buffer) => Buffer.concat([file, more])),
  fc.tuple(fc.nat(347), fc.integer({ min: 1, max: 255 })).map(([at, bits]) => (file: Buffer) => {
    const copy = Buffer.from(file);
    copy[at]! ^= bits;
    return copy;
  }),
  fc.constant((file: Buffer) => file.subarray(48)),
);

test('a damaged file counts as none, and is replaced', () => {
  const store = cubinFiles(folder);
  expect(store.load('k')).toBeUndefined();
  fc.assert(
    fc.property(damage, (change) => {
      store.save('k', cubin);
      expect(store.load('k')).toEqual(cubin);
      const [path] = files();
      writeFileSync(path!, change(readFileSync(path!)));
      expect(store.load('k')).toBeUndefined();
    }),
    { numRuns: Number(process.env['DARKROOM_PROPERTY_RUNS'] ?? 200) },
  );
  expect(files().length).toBe(1);
});

test('the file of another kernel is not taken', () => {
  const store = cubinFiles(folder);
  store.save('a', cubin);
  const [a] = files();
  store.save('b', cubin.subarray(1));
  const b = files().find((path) => path !== a);
  writeFileSync(b!, readFileSync(a!));
  expect(store.load('b')).toBeUndefined();
});

test('a folder that cannot be written is said once', () => {
  const warn = vi.spyOn(log, 'warn').mockImplementation(() => {});
  writeFileSync(join(folder, 'file'), '');
  const store = cubinFiles(join(folder, 'file'));
  store.save('a', cubin);
  store.save('b', cubin);
  expect(store.load('a')).toBeUndefined();
  expect(warn.mock.calls.map(([message]) => message)).toEqual([
    expect.stringMatching(
      /^compiled kernels are not kept: .*cannot be written \(a part of its path is a file\)$/,
    ),
  ]);
  warn.mockRestore();
});

describe.skipIf(emulatorIsMissing())('a device', () => {
  const product = async (): Promise<number[]> => {
    using device = await cuda({ emulator: true, cache: folder });
    const [a, b] = [
      tensor([1, 2, 3, 4], { shape: [2, 2], device }),
      tensor([5, 6, 7, 8], { shape: [2, 2], device }),
    ];
    return [...((await matmul(a, b).data()) as Float32Array)];
  };

  test.each([
    ['empty', () => Buffer.alloc(0)],
    ['cut', (file: Buffer) => file.subarray(0, file.length >> 1)],
    ['another', () => Buffer.from('no kernel at all')],
  ])('compiles again what is %s in its cache', async (_, change) => {
    expect(await product()).toEqual([19, 22, 43, 50]);
    const kernels = files().filter((path) => path.endsWith('.cubin'));
    expect(kernels.length).toBeGreaterThan(0);
    const whole = kernels.map((path) => readFileSync(path));
    kernels.forEach((path, i) => writeFileSync(path, change(whole[i]!)));
    expect(await product()).toEqual([19, 22, 43, 50]);
    kernels.forEach((path, i) => expect(readFileSync(path).length).toBe(whole[i]!.length));
  });

  test('runs and tunes where its cache cannot be written', async () => {
    const warn = vi.spyOn(log, 'warn').mockImplementation(() => {});
    writeFileSync(join(folder, 'file'), '');
    using device = await cuda({ emulator: true, cache: join(folder, 'file'), autotune: 'full' });
    const a = tensor([1, 2, 3, 4], { shape: [2, 2], device });
    expect([...((await matmul(a, a).data()) as Float32Array)]).toEqual([7, 10, 15, 22]);
    await device.tune();
    expect(warn.mock.calls.map(([message]) => String(message).split(':')[0]).sort()).toEqual([
      'compiled kernels are not kept',
      'tuning results are not kept',
    ]);
    warn.mockRestore();
  });
});
