// Device time of Stable Diffusion's op shapes one by one: which kernel each gets, and at what rate it runs.

import { eachOp } from '../op-runs.ts';
import { samplingFor } from './modules.ts';
import { sample } from './sampling.ts';
import type { StageContext } from './stage.ts';

/** The one shape that an emulated device runs. */
const tinyFilter = 'linear 2x1280';

export async function ops({ options, open, record }: StageContext): Promise<void> {
  const device = await open('cached');
  await eachOp(device, options.tiny ? tinyFilter : undefined, async ({ name, kernel, cost, run }) => {
    const ms = await sample(() => device.backend.time(run), samplingFor(options.tiny, 0.2));
    record({ kind: 'fact', name: `op ${name}`, value: { kernel, cost, ms } });
  });
}
