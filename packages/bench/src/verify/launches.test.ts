// The launches of Stable Diffusion's parts on a GPU, counted on a stand-in for the driver: as many as a graph of the step
// holds. A fusion that no longer happens shows here.

import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { openDevice } from '@darkroom/backend-cuda';
import { standInCuda } from '@darkroom/backend-cuda/testing';
import type { StandIn } from '@darkroom/backend-cuda/testing';
import { drawTimed } from './image.ts';
import { buildPipeline, modes, sizes } from './models.ts';
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

const emoji = fileURLToPath(new URL('../../../../models/emoji-64', import.meta.url));

type Driver = StandIn['cuda']['driver'];

/** Counts calls of the driver by name. */
function counted(driver: Driver): { driver: Driver; calls: Partial<Record<keyof Driver, number>> } {
  const calls: Partial<Record<keyof Driver, number>> = {};
  const count = <A extends readonly unknown[], R>(name: keyof Driver, call: (...args: A) => R) =>
    [name, (...args: A): R => ((calls[name] = (calls[name] ?? 0) + 1), call(...args))] as const;
  const entries = Object.entries(driver) as [keyof Driver, (...args: readonly unknown[]) => unknown][];
  return { driver: Object.fromEntries(entries.map(([name, call]) => count(name, call))) as unknown as Driver, calls };
} // prettier-ignore

test('a traced picture of Stable Diffusion 1.5 asks the driver for little beside its graphs', async () => {
  const { cuda } = standInCuda(nvrtc);
  const { driver, calls } = counted(cuda.driver);
  const device = openDevice({ ...cuda, driver }, { cache: false });
  const pipe = await buildPipeline(sizes.full, device, modes.float16, emoji);
  pipe.enableTracing();
  const steps = 3;
  // Recorded, run once, captured.
  for (let i = 0; i < 3; i++) await drawTimed(pipe, { steps, side: 512 });
  for (const name of Object.keys(calls)) calls[name as keyof Driver] = 0;
  await drawTimed(pipe, { steps, side: 512 });
  const { launch = 0, graphLaunch = 0, copyToDevice = 0, copyOnDevice = 0, copyToHost = 0 } = calls;
  // The texts, what depends on the prompt alone, every step, the decoder.
  expect(graphLaunch).toBe(steps + 3);
  expect(launch).toBeLessThanOrEqual(8 + 2 * steps);
  expect(copyToDevice).toBeLessThanOrEqual(4 + 2 * steps);
  expect(copyOnDevice).toBeLessThanOrEqual(2 + 2 * steps);
  expect(copyToHost).toBe(1);
  // It waits for each step but the last, and for the picture; nothing is allocated or captured anew.
  expect(calls.eventWait).toBeLessThanOrEqual(steps + 1);
  expect(calls.streamSynchronize).toBe(1);
  const { alloc = 0, allocAsync = 0, hostAlloc = 0, captureBegin = 0, contextSynchronize = 0, eventSynchronize = 0 } = calls; // prettier-ignore
  expect([alloc, allocAsync, hostAlloc, captureBegin, contextSynchronize, eventSynchronize]).toEqual([0, 0, 0, 0, 0, 0]);
  pipe.dispose();
  device[Symbol.dispose]();
}, 120_000); // prettier-ignore
