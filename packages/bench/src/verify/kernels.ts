// Device time of a forward by kernel: every kernel is timed in its place, with caches as in use.

import { matmul } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import { randomTensor } from '../random-weights.ts';
import { byLabel } from './in-graph.ts';
import type { KernelsRecord } from './records.ts';
import { spreadOf } from './sampling.ts';
import { timedKernels } from './timed-device.ts';
import type { TimedKernel } from './timed-device.ts';

const forwards = 3;

/** Medians by kernel over a few forwards. */
export async function kernelTimes(
  device: Device,
  run: () => Tensor,
  tiny: boolean,
): Promise<KernelsRecord['kernels']> {
  const n = tiny ? 64 : 8192;
  using ahead = randomTensor([n, n], device, 'float16');
  matmul(ahead, ahead).dispose(); // compiles
  const seen: (readonly TimedKernel[])[] = [];
  for (let i = 0; i < (tiny ? 1 : forwards); i++) {
    // Long work first: the device stays behind the host, so that no kernel's time holds a wait for its launch.
    for (let k = 0; k < (tiny ? 1 : 16); k++) matmul(ahead, ahead).dispose();
    seen.push(await timedKernels(device.backend, () => run().dispose()));
  }
  return byLabel(
    seen[0]!.map(({ label }, at) => ({
      label,
      ms: spreadOf(seen.flatMap((all) => all[at]?.ms ?? [])).median,
    })),
  );
}
