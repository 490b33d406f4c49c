// The search for libraries, and what is said where there are none. Needs the addon, but nothing of CUDA.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { DeviceError, OutOfMemoryError } from '@darkroom/core';
import { diagnose, explain, labelled, loadAddon, openCuda, wordError } from './node/addon.ts';
import { builtinsOf, candidates } from './node/libraries.ts';
import type { LibraryName, SearchOptions } from './node/libraries.ts';
import { addonIsMissing } from './node/testing.ts';

const root = mkdtempSync(join(tmpdir(), 'darkroom-libraries-'));
afterAll(() => rmSync(root, { recursive: true }));

function file(...parts: string[]): string {
  const path = join(root, ...parts);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, '');
  return path;
}
const paths = (name: LibraryName, options: SearchOptions): string[] =>
  [...candidates(name, options)].map((c) => c.path);

describe('the search for libraries', () => {
  const site = join(root, 'site');
  const new13 = file('site', 'nvidia', 'cu13', 'lib', 'libnvrtc.so.13');
  const builtins = file('site', 'nvidia', 'cu13', 'lib', 'libnvrtc-builtins.so.13.0');
  file('site', 'nvidia', 'cu13', 'lib', 'libnvrtc.alt.so.13');
  const old12 = file('site', 'nvidia', 'cuda_nvrtc', 'lib', 'libnvrtc.so.12');
  const home = file('home', 'lib64', 'libnvrtc.so.12.4.127');
  const env = { CUDA_HOME: join(root, 'home'), PATH: '' };
  const options = { sitePackages: [site], python: false, env };

  test('goes from Python packages to CUDA_HOME to bare names', () => {
    const bare = ['libnvrtc.so.13', 'libnvrtc.so.12', 'libnvrtc.so.11.2', 'libnvrtc.so'];
    expect(paths('nvrtc', options)).toEqual([new13, old12, home, ...bare]);
  });
  test('puts libraries newer than the driver last', () => {
    const found = paths('nvrtc', { ...options, driverMajor: 12 });
    expect(found.slice(0, 2)).toEqual([old12, home]);
    expect(found.slice(-2)).toEqual([new13, 'libnvrtc.so.13']);
  });
  test('takes an environment variable at its word', () => {
    expect(paths('nvrtc', { ...options, env: { DARKROOM_LIBNVRTC: '/x/libnvrtc.so' } })).toEqual([
      '/x/libnvrtc.so',
    ]);
  });
  test('asks the python3 on PATH for its packages', () => {
    const bin = join(root, 'bin', 'python3');
    file('bin', 'python3');
    writeFileSync(bin, `#!/bin/sh\necho ${site}:/nowhere\n`, { mode: 0o755 });
    rmSync(bin);
    writeFileSync(bin, `#!/bin/sh\necho ${site}:/nowhere\n`, { mode: 0o755 });
    const found = paths('nvrtc', { env: { PATH: `${join(root, 'bin')}:/bin:/usr/bin` } });
    expect(found[0]).toBe(new13);
    expect(paths('cuda', options)[0]).toBe('libcuda.so.1');
  });
  test('finds the builtins beside NVRTC, of its version', () => {
    expect(builtinsOf(new13)).toBe(builtins);
    expect(builtinsOf(old12)).toBeUndefined();
    expect(builtinsOf('libnvrtc.so.13')).toBeUndefined();
  });
});

describe.skipIf(addonIsMissing())('the addon without CUDA', () => {
  const nowhere = { python: false, env: { CUDA_HOME: join(root, 'none'), PATH: '' } };

  test('loads, and says of each library where it was looked for and why it was not taken', () => {
    const broken = file('broken', 'nvidia', 'cudnn', 'lib', 'libcudnn.so.9');
    const { addon, libraries } = diagnose({ ...nowhere, sitePackages: [join(root, 'broken')] });
    expect(addon).toHaveProperty('path');
    const { cudnn } = libraries;
    if (cudnn.found) return; // a machine with cuDNN in the system loader's path
    expect(cudnn.looked[0]).toContain(`${broken} (${join(root, 'broken')}): `);
    expect(cudnn.looked[0]).toMatch(/too short|invalid ELF/);
    expect(cudnn.looked[1]).toMatch(
      /^libcudnn\.so\.9 \(the system loader\): .*cannot open shared object file/,
    );
    expect(explain('cudnn', cudnn)).toMatch(/^cuda: no cuDNN: run 'python3 -m pip install .*\(tried /);
  });

  test('opening CUDA with a driver that is not there is one DeviceError with advice', () => {
    const env = { DARKROOM_LIBCUDA: join(root, 'none', 'libcuda.so.1') };
    const open = (): unknown => openCuda({ env });
    expect(open).toThrow(DeviceError);
    expect(open).toThrow(/^cuda: no NVIDIA driver: .*DARKROOM_LIBCUDA.*cannot open shared object file.*\)$/);
  });

  test('calls on a library that was not opened, and errors in our words', () => {
    const { cudnn } = loadAddon();
    expect(() => labelled('conv2d/cudnn', () => cudnn.descriptor(17))).toThrow(
      /^cuda: conv2d\/cudnn: libcudnn: cudnnBackendCreateDescriptor failed: the library was not opened$/,
    );
    const native = Object.assign(new Error('libcuda: cuMemAlloc_v2 failed with 2: X'), {
      library: 'libcuda',
      call: 'cuMemAlloc_v2',
      code: 2,
      text: 'X',
    });
    expect(wordError(native, 'alloc')).toBeInstanceOf(OutOfMemoryError);
    const plan = Object.assign(new Error('no memory'), { ...native, library: 'libcudnn', code: 4004 });
    expect(wordError(plan, 'conv2d/cudnn')).toBeInstanceOf(OutOfMemoryError);
    const other = new RangeError('no');
    expect(wordError(other, 'alloc')).toBe(other);
  });
});
