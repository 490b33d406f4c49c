// The launches of Stable Diffusion's parts on a GPU, counted on a stand-in for the driver: as many as a graph of the step
// holds. A fusion that no longer happens shows here.

import { expect, test } from 'vitest';
import { openDevice } from '@darkroom/backend-cuda';
import { standInCuda } from '@darkroom/backend-cuda/testing';
import { modes } from './models.ts';
import { openPart } from './modules.ts';

const cubin = new Uint8Array(1);
/** Gives empty cubins: nothing is run. */
const nvrtc = {
  open: (path: string) => path,
  version: () => '13.0',
  compile: () => ({ cubin, log: '' }),
  compileAsync: () => Promise.resolve({ cubin, log: '' }),
};

test('a traced UNet step of Stable Diffusion 1.5 is one graph of at most 443 launches', async () => {
  const standIn = standInCuda(nvrtc);
  const device = openDevice(standIn.cuda, { cache: false });
  const unet = await openPart('unet', device, modes.float16, false);
  const traced = await unet.trace!();
  for (let i = 0; i < 2; i++) traced.run().dispose();
  expect(standIn.captured).toBeGreaterThan(250);
  expect(standIn.captured).toBeLessThanOrEqual(443);
  const before = standIn.launches;
  traced.run().dispose();
  // Beside the graph: what enters and leaves it.
  expect(standIn.launches - before - standIn.captured).toBeLessThanOrEqual(4);
  traced.dispose();
  unet.dispose();
  device[Symbol.dispose]();
}, 60_000);
