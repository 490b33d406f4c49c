// The emulator's messages for wrong kernels, each in a process of its own.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { kernelText } from './text/device.cu.ts';
import { nativeFolder } from './node/libraries.ts';
import { emulatorIsMissing } from './node/testing.ts';

const missing = emulatorIsMissing();

/** Launches `f`, then `g`, with two blocks on a buffer of floats, and frees it. */
const child = `
  const { addon, cuda, nvrtc, source, threads, shared, bytes } = JSON.parse(require('fs').readFileSync(0, 'utf8'));
  const native = require(addon);
  native.driver.open(cuda);
  native.nvrtc.open(nvrtc);
  const { cubin, log } = native.nvrtc.compile(source, 'test.cu', []);
  if (!cubin) throw new Error(log);
  const module = native.driver.moduleLoad(cubin);
  const x = native.driver.alloc(bytes);
  const block = new ArrayBuffer(8);
  new BigUint64Array(block)[0] = BigInt(x);
  const run = (name) => {
    try {
      const kernel = native.driver.moduleFunction(module, name);
      native.driver.launch(kernel, 2, 1, 1, threads, 1, 1, shared, 0, block);
      return 'fine';
    } catch (error) {
      return error.message;
    }
  };
  const first = run('f');
  const second = run('g');
  let freed = 'fine';
  try { native.driver.free(x); } catch (error) { freed = error.message; }
  console.log(JSON.stringify({ first, second, freed }));
`;
interface Outcome {
  readonly first: string;
  readonly second: string;
  readonly freed: string;
}
function run(body: string, threads = 128, env: Record<string, string> = {}, bytes = 400): Outcome {
  const lib = (name: string): string => join(nativeFolder(), name);
  const source = kernelText(`extern "C" __global__ void f(float* x) {
    const int i = threadIdx.x;
    ${body}
  }
  extern "C" __global__ void g(float* x) { x[0] = 1; }`);
  const files = {
    addon: lib('darkroom_cuda.node'),
    cuda: lib('libcuda_emulator.so'),
    nvrtc: lib('libnvrtc_emulator.so'),
  };
  const input = JSON.stringify({ ...files, source, threads, shared: 256, bytes });
  const done = spawnSync(process.execPath, ['-e', child], {
    input,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  expect(done.stderr).toBe('');
  return JSON.parse(done.stdout) as Outcome;
}

describe.skipIf(missing)('cuda emulator on wrong kernels', () => {
  test('a read past a buffer names block, thread and place, and the next launch works', () => {
    const { first, second } = run('x[0] += x[blockIdx.x * 100 + i];', 64);
    expect(first).toMatch(
      /CUDA_ERROR_ILLEGAL_ADDRESS: emulator: f: block \(1,0,0\): thread \(0,0,0\): read /,
    );
    expect(first).toMatch(/read 0 bytes past the end of an allocation of 400 bytes/);
    expect(second).toBe('fine');
  });
  test('a write before a buffer', () => {
    expect(run('x[-1024] = 1;').first).toMatch(/write \d+ bytes before the start of an allocation of 400/);
  });
  test('a write past dynamic shared memory', () => {
    expect(run('DYNAMIC_SHARED(float, s); s[i] = 1;').first).toMatch(
      /thread \(64,0,0\): write 0 bytes past the end of dynamic shared memory/,
    );
  });
  test('more declared shared memory than a block has', () => {
    expect(
      run('__shared__ float s[12289]; s[i] = x[i % 100]; __syncthreads(); x[0] += s[97 - i % 90];').first,
    ).toMatch(/declares 49156 bytes of shared memory, at most 49152 may be/);
  });
  test('a write just behind a buffer shows when it is freed', () => {
    // The end lies at a multiple of 16 bytes, so that up to 12 are left before the page that faults.
    expect(run('if (i == 0) x[97] = 1;', 1, {}, 388)).toMatchObject({
      first: 'fine',
      freed: expect.stringMatching(/something wrote 0 bytes past the end of an allocation of 388/) as string,
    });
    expect(run('if (i == 0) x[-1] = 1;').freed).toMatch(/something wrote 4 bytes before the start of/);
  });
  test('a barrier that some threads of a warp do not reach is a deadlock', () => {
    const { first, second } = run('if (i < 97) __syncthreads(); else warpSum(x[0]);');
    expect(first).toMatch(
      /CUDA_ERROR_LAUNCH_FAILED: .*deadlock: 97 threads at a block barrier, 31 at a warp operation \(__shfl_xor_sync\), 0 exited/,
    );
    expect(second).toBe('fine');
  });
  test('a warp that diverges, a lane outside its mask, a copy not waited for, a misaligned ldmatrix', () => {
    expect(run('if (i % 2) __syncwarp(); else __any_sync(~0u, 1);').first).toMatch(/the warp diverges: lane/);
    expect(run('__shfl_sync(1u, i, 0);').first).toMatch(/lane 1 calls but is not in its mask 00000001/);
    expect(run('__shared__ __align__(16) float s[4]; copyAsync<16>(s, x);').first).toMatch(
      /did not wait for/,
    );
    expect(run('__shared__ __align__(16) u16 s[256]; u32 r[4]; loadMatrix4(r, s + i % 32);').first).toMatch(
      /ldmatrix: lane 1's row is not aligned/,
    );
    expect(run('u32 r[2]; loadMatrix2(r, x);', 16).first).toMatch(/last warp has only 16 threads/);
  });
  test('a missing barrier reads poison in one order of threads', () => {
    // Thread i reads what thread i - 1 wrote: right by luck when threads run first to last.
    const body =
      '__shared__ float s[128]; s[i] = 1; if (i > 0 && s[i - 1] != 1) __trap(); if (i == 0) s[127] = 1;';
    expect(run(body).first).toBe('fine');
    expect(run(body, 128, { DARKROOM_CUDA_EMULATOR_REVERSE: '1' }).first).toMatch(/__trap was called/);
  });
  test('a stack that overflows', () => {
    expect(run('volatile float big[32768]; big[i] = 1; x[0] = big[0];').first).toMatch(
      /past the end of its stack|near no allocation/,
    );
  });
});
