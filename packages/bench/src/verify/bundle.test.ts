// The GPU bundle as it will be used: built, copied away from the repository, and its verify.sh run from there. The CUDA
// emulator stands in for the GPU, at tiny sizes, so this shows that every stage works and says nothing about speed.

import { spawnSync } from 'node:child_process';
import type { SpawnSyncReturns } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { emulatorIsMissing } from '@darkroom/backend-cuda/testing';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const native = join(root, 'packages/backend-cuda/dist/native/Release');
const missing = emulatorIsMissing();

interface Report {
  readonly size: string;
  readonly stages: readonly {
    readonly name: string;
    readonly status: string;
    readonly message?: string;
    readonly records: readonly { readonly kind: string; readonly work?: string; readonly mode?: string }[];
  }[];
}

describe.skipIf(missing)('bundle:gpu', () => {
  const folder = mkdtempSync(join(tmpdir(), 'darkroom-bundle-'));
  const bundle = join(folder, 'elsewhere');
  beforeAll(() => {
    const built = join(folder, 'built');
    const args = [join(root, 'scripts/bundle-gpu.mjs'), '--out', built, '--without-node'];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect(status, stderr).toBe(0);
    cpSync(built, bundle, { recursive: true });
    rmSync(built, { recursive: true });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const run = (...args: string[]): SpawnSyncReturns<string> =>
    spawnSync('bash', [join(bundle, 'verify.sh'), join(folder, 'results'), ...args], {
      encoding: 'utf8',
      cwd: folder,
      // Of this environment only what a bare machine has too: NODE_PATH and the like would lend it our packages.
      env: {
        PATH: `${join(process.execPath, '..')}:${process.env['PATH']}`,
        HOME: folder,
        ...(process.env['CXX'] && { CXX: process.env['CXX'] }),
        DARKROOM_CUDA: 'emulator',
        DARKROOM_LIBCUDA: join(native, 'libcuda_emulator.so'),
        DARKROOM_LIBNVRTC: join(native, 'libnvrtc_emulator.so'),
      },
    });
  const report = (): Report =>
    JSON.parse(readFileSync(join(folder, 'results/verify.json'), 'utf8')) as Report;

  test('holds all that verify.sh needs, in far less than 60 MiB without Node', () => {
    const bytes = (path: string): number =>
      statSync(path).isDirectory()
        ? readdirSync(path).reduce((sum, name) => sum + bytes(join(path, name)), 0)
        : statSync(path).size;
    expect(readdirSync(bundle).sort()).toEqual(
      ['app', 'darkroom_cuda.node', 'goldens', 'model', 'torch', 'verify.sh'].sort(),
    );
    expect(existsSync(join(bundle, 'torch/replay.py'))).toBe(true);
    // A stripped Node takes less than 30 MiB as xz.
    expect(bytes(bundle)).toBeLessThan(30 * 2 ** 20);
  });

  test('every stage passes at tiny sizes and is in the JSON', () => {
    const { status, stdout, stderr } = run('--tiny');
    const { stages, size } = report();
    expect(stages.filter((s) => s.status !== 'passed').map((s) => `${s.name}: ${s.message}`)).toEqual([]);
    expect(status, `${stdout}${stderr}`).toBe(0);
    expect(size).toBe('tiny');
    const timings = stages
      .flatMap((s) => s.records)
      .filter((r) => r.kind === 'timing')
      .map((r) => `${r.work} ${r.mode}`);
    const modes = ['float16', 'tf32', 'float32'];
    for (const work of ['unet', 'vae', 'text', 'image'])
      for (const mode of modes) expect(timings).toContain(`${work} ${mode}`);
    for (const mode of modes) expect(timings).toContain(`unet ${mode} traced`);
    const features = [
      'none',
      '+ autotuner',
      '+ tf32',
      '+ float16',
      '+ channels-last',
      '+ traced UNet',
      '+ memory-efficient attention',
    ];
    expect(timings.filter((t) => t.startsWith('image')).slice(modes.length)).toEqual(
      features.map((f) => `image ${f}`),
    );
    const kinds = new Set(stages.flatMap((s) => s.records).map((r) => r.kind));
    for (const kind of ['check', 'fact', 'item', 'kernels', 'rate', 'timing', 'torch'])
      expect(kinds).toContain(kind);
    // The end of a log must be enough, and can be printed again from the records.
    expect(stdout.length).toBeLessThan(16_000);
    const again = spawnSync(process.execPath, [join(bundle, 'app/verify.js'), join(folder, 'results/records.jsonl'), '--summary', '--torch', join(bundle, 'torch')], { encoding: 'utf8' }); // prettier-ignore
    expect(again.status, again.stderr).toBe(0);
    for (const name of ['unet float16 traced', '+ memory-efficient attention', 'conformance'])
      expect(again.stdout).toContain(name);
  });

  test('a visit keeps its caches in its results and packs them', () => {
    const { status, stdout, stderr } = run('--tiny', '--visit', '1', '--only', 'box');
    expect(status, `${stdout}${stderr}`).toBe(0);
    for (const name of ['box.txt', 'records.jsonl', 'cache', 'work/tuned', 'stderr-box.txt', 'results.tgz'])
      expect(existsSync(join(folder, 'results', name)), name).toBe(true);
  });

  test('a stage that does not fit the budget is named, and a wrong option too', () => {
    run('--tiny', '--only', 'machine', '--budget', '1');
    expect(report().stages.map((s) => [s.name, s.status])).toEqual([['machine', 'not run']]);
    const { status, stderr } = run('--budget', 'soon');
    expect(status).toBe(1);
    expect(stderr).toContain("must be a number above 0, got 'soon'");
  });
});
