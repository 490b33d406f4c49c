import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { log } from '../debug.ts';
import { fileTuneStore } from './tune-files.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'darkroom-tune-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('what two devices found at once is kept', async () => {
  const [one, other] = [fileTuneStore(folder), fileTuneStore(folder)];
  await one.save('gpu, 1', { a: { id: 'x' } });
  await other.save('gpu, 1', { b: { id: 'y' } });
  expect(await one.load('gpu, 1')).toEqual({ a: { id: 'x' }, b: { id: 'y' } });
  await Promise.all(Array.from({ length: 20 }, (_, i) => one.save('gpu, 2', { [`k${i}`]: { id: 'z' } })));
  expect(Object.values(await one.load('gpu, 2'))[0]).toEqual({ id: 'z' });
  expect(readdirSync(folder).sort()).toEqual(['gpu-1.json', 'gpu-2.json']);
});

test.each(['', '{', 'null', '[1]', '{"a": null, "b": {"id": 1}, "c": 5}'])(
  '%j counts as nothing found',
  async (text) => {
    const warn = vi.spyOn(log, 'warn').mockImplementation(() => {});
    writeFileSync(join(folder, 'gpu.json'), text);
    expect(await fileTuneStore(folder).load('gpu')).toEqual({});
    warn.mockRestore();
  },
);

test('a folder that cannot be written is said once and fails nothing', async () => {
  const warn = vi.spyOn(log, 'warn').mockImplementation(() => {});
  writeFileSync(join(folder, 'file'), '');
  const store = fileTuneStore(join(folder, 'file'));
  await store.save('gpu', { a: { id: 'x' } });
  await store.save('gpu', { a: { id: 'x' } });
  expect(await store.load('gpu')).toEqual({});
  expect(warn.mock.calls).toEqual([[expect.stringContaining('tuning results are not kept: ')]]);
  warn.mockRestore();
});
