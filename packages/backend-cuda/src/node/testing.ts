// For tests: the emulator, built when it is not. Where it cannot be, tests are skipped with the reason printed, unless
// DARKROOM_REQUIRE names cuda-emulator (as CI does): then they fail.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { skip } from '@darkroom/core/testing';
import { traitsOf } from '../traits.ts';
import type { CudaTraits } from '../traits.ts';
import { nativeFolder } from './libraries.ts';

export { CachingAllocator } from './caching-allocator.ts';
export { h100, realNvrtc, standInCuda } from './stand-in.ts';
export type { DescribedGpu, StandIn } from './stand-in.ts';

/** Builds what is stale. True when there is no addon afterwards. */
export function addonIsMissing(): boolean {
  const script = fileURLToPath(new URL('../../native/build.mjs', import.meta.url));
  const built = spawnSync(process.execPath, [script], { encoding: 'utf8' });
  if (existsSync(join(nativeFolder(), 'darkroom_cuda.node'))) return false;
  return skip('cuda-emulator', `${built.stdout}${built.stderr}`.trim());
}

/** As addonIsMissing, for the emulator: it also needs x86-64 and a g++ at run time. */
export function emulatorIsMissing(): boolean {
  if (addonIsMissing()) return true;
  if (!existsSync(join(nativeFolder(), 'libcuda_emulator.so')))
    return skip('cuda-emulator', `the CUDA emulator runs on x86-64 Linux, this is ${process.arch}`);
  const compiler = process.env['CXX'] || 'g++';
  if (spawnSync(compiler, ['--version']).status !== 0)
    return skip('cuda-emulator', `the CUDA emulator compiles kernels with ${compiler}, which is not here`);
  return false;
}

/**
 * A folder of kernels for the emulator, shared by tests whose subject is not the compiler: several compile the same
 * models' kernels. Kernels are found by their text and by the emulator's headers.
 */
export const emulatorCache = (): string => join(nativeFolder(), 'kernels');

/** Kilobytes of shared memory that a block may ask for, by architecture (CUDA's programming guide). */
const mostShared: Readonly<Record<number, number>> = {
  75: 64,
  80: 163,
  86: 99,
  89: 99,
  90: 227,
  100: 227,
  120: 99,
};
/** Compute capabilities that kernels are compiled for, as 90 for sm_90. */
export const architectures: readonly number[] = Object.keys(mostShared).map(Number);

/** The attributes of a GPU of an architecture, to compile for it without one. */
export function traitsOfArchitecture(architecture: number): CudaTraits {
  const mostSharedBytes = mostShared[architecture]! * 1024;
  return traitsOf({
    architecture,
    sharedBytes: 49152,
    mostSharedBytes,
    processors: 132,
    threads: 1024,
    emulated: false,
  });
}
