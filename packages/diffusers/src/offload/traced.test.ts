// Traces under offload: whole models bring weights for replays and take the replays' memory with them; layers refuse.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadTraced, Scope, trace, zeros } from '@darkroom/core';
import type { AnyModule, Device, TracedModule } from '@darkroom/core';
import type { Plan } from '@darkroom/core/graph';
import { cpu } from '@darkroom/backend-cpu';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { UNetLike } from '../models/types.ts';
import type { UNetOutput } from '../models/unet2d-condition.ts';
import { emoji } from '../node/testing.ts';
import { StableDiffusionPipeline } from '../pipelines/stable-diffusion.ts';
import type { StableDiffusionOptions } from '../pipelines/stable-diffusion.ts';
import { unetInputs } from '../pipelines/unet-inputs.ts';

const folder = mkdtempSync(join(tmpdir(), 'darkroom-offload-'));
const file = join(folder, 'unet.graph.json');
const call = { seed: 7, numInferenceSteps: 3, guidanceScale: 4, outputType: 'tensor' } as const;

let device: Device;
let pipe: StableDiffusionPipeline;
let unet: UNetLike;
/** The eager picture, on the device and under offload. */
let onDevice: Drawn;
let offloaded: Drawn;

interface Drawn {
  readonly pixels: number[];
  /** Highest live bytes during the call, and when it was over. */
  readonly peak: number;
  readonly after: number;
}
async function draw(options: StableDiffusionOptions = {}, by = pipe): Promise<Drawn> {
  device.resetPeakMemory();
  const { tensor } = await by('a fox', { ...call, ...options });
  const pixels = [...(await tensor!.data())];
  tensor!.dispose();
  return { pixels, peak: device.memory().peak, after: device.memory().live };
}

const unetBytes = (): number => (unet as unknown as AnyModule).bytes;
const load = async (weights: 'device' | 'host'): Promise<StableDiffusionPipeline> => {
  const loaded = await StableDiffusionPipeline.fromPretrained(emoji, { device, weights });
  loaded.useScheduler('DDIMScheduler');
  loaded.setProgressBarConfig({ disable: true });
  return loaded;
};
type TracedUNet = TracedModule<Parameters<UNetLike['call']>, UNetOutput>;
const traceUNet = (): Promise<TracedUNet> => trace(unet, unetInputs(pipe));
const loadUNet = (): Promise<TracedUNet> => loadTraced(file, { device, params: unet.stateDict!() });

/** Bytes that a plan holds while it is bound; the allocator counts in pieces of 256 bytes. */
function memoryOf(plan: Plan): number {
  const own = plan.bases.filter(({ kind }) => kind === 'input' || kind === 'output').map((b) => b.bytes);
  return [...plan.buffers, ...own].reduce((n, bytes) => n + Math.max(256, Math.ceil(bytes / 256) * 256), 0);
}

beforeAll(async () => {
  device = await cpu({ threads: 1 });
  pipe = await load('device');
  unet = pipe.unet;
  onDevice = await draw();
  await (await traceUNet()).save(file);
  await pipe.toHost();
  pipe.enableModelCpuOffload();
  offloaded = await draw();
  expect(offloaded.pixels).toEqual(onDevice.pixels);
  pipe.dispose();
});
beforeEach(async () => {
  pipe = await load('host');
  unet = pipe.unet;
});
afterEach(() => {
  pipe.dispose();
  expect(device.memory().live).toBe(0);
});
afterAll(() => {
  device[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

/** Ways to trace: each gives the plans made so far. */
const starts: readonly [string, () => Promise<() => readonly Plan[]>][] = [
  [
    'whole steps',
    async () => {
      pipe.enableTracing();
      return () => pipe.tracedSteps.flatMap((t) => t.plans);
    },
  ],
  [
    'a traced UNet',
    async () => {
      const traced = await traceUNet();
      pipe.unet = traced;
      return () => traced.plans;
    },
  ],
  [
    'a UNet from a file',
    async () => {
      const traced = await loadUNet();
      pipe.unet = traced;
      return () => traced.plans;
    },
  ],
  [
    'whole steps of a traced UNet', // whose own plan runs the first step
    async () => {
      const traced = await traceUNet();
      pipe.unet = traced;
      pipe.enableTracing();
      return () => [...traced.plans, ...pipe.tracedSteps.flatMap((t) => t.plans)];
    },
  ],
];

describe.each(starts)('%s under model offload', (_, start) => {
  test.each(['offload first', 'trace first'])(
    '%s: the same bits, the plan kept and its memory not, within a bound',
    async (order) => {
      if (order === 'offload first') pipe.enableModelCpuOffload();
      const plans = await start();
      if (order === 'trace first') pipe.enableModelCpuOffload();
      const pictures = [await draw()];
      const made = plans();
      const bound = made.reduce((n, plan) => n + memoryOf(plan), offloaded.peak);
      pictures.push(await draw());
      expect(made).not.toHaveLength(0);
      expect(plans().map((plan, i) => plan === made[i])).toEqual(made.map(() => true));
      for (const { pixels, after, peak } of pictures) {
        expect(pixels).toEqual(onDevice.pixels);
        expect(after).toBe(offloaded.after);
        expect(peak).toBeLessThanOrEqual(bound);
      }
    },
  );

  test('a picture that stops in the middle leaves nothing, and the next one is drawn', async () => {
    pipe.enableModelCpuOffload();
    await start();
    await draw();
    for (const stopAt of [0, 1]) {
      const stop = (_p: unknown, step: number): void => {
        if (step !== stopAt) return;
        expect(device.memory().live).toBeGreaterThan(0);
        throw new Error('stop');
      };
      await expect(draw({ callbackOnStepEnd: stop })).rejects.toThrow('stop');
      expect(device.memory().live).toBe(0);
    }
    expect((await draw()).pixels).toEqual(onDevice.pixels);
  });

  test.each(['offload', 'trace'])('the %s ends first', async (first) => {
    pipe.enableModelCpuOffload();
    await start();
    await draw();
    const untrace = (): void => {
      pipe.disableTracing();
      pipe.unet = unet;
    };
    if (first === 'trace') {
      untrace();
      const { pixels, after, peak } = await draw();
      expect([pixels, after]).toEqual([onDevice.pixels, 0]);
      expect(peak).toBeLessThanOrEqual(offloaded.peak);
      pipe.disableModelCpuOffload();
    } else {
      pipe.disableModelCpuOffload();
      expect(device.memory().live).toBe(0);
      untrace();
    }
    await pipe.to(device);
    expect((await draw()).pixels).toEqual(onDevice.pixels);
  });
});

describe('a traced UNet', () => {
  test('goes on with weights that come back to stay', async () => {
    pipe.enableModelCpuOffload();
    const traced = await traceUNet();
    pipe.unet = traced;
    await draw();
    const [plan] = traced.plans;
    await expect(pipe.to(device)).rejects.toThrow('call disableModelCpuOffload() first');
    pipe.disableModelCpuOffload();
    await expect(pipe.to(device)).rejects.toThrow('a traced module cannot be moved or converted');
    expect(device.memory().live).toBe(0); // it refuses before anything moves
    for (const module of [pipe.vae, pipe.textEncoder, unet]) await module.to({ device });
    expect((await draw()).pixels).toEqual(onDevice.pixels);
    expect(traced.plans[0]).toBe(plan);
    await pipe.toHost(); // takes the replay's memory too
    expect(device.memory().live).toBe(0);
    await expect(draw()).rejects.toThrow('no data (a weight not loaded');
  });

  test('that no pipeline has, of a module that one offloads: its weights come, and go with its memory', async () => {
    pipe.enableModelCpuOffload();
    const traced = await traceUNet();
    const [x, time, { encoderHiddenStates: text }] = unetInputs(pipe);
    using memory = new Scope();
    const args = memory.run(() => {
      const encoderHiddenStates = zeros(text.shape, { device });
      return [zeros(x.shape, { device }), time, { encoderHiddenStates }] as const;
    });
    const given = device.memory().live;
    memory.run(() => traced.call(...args).sample).dispose();
    expect(device.memory().live).toBeGreaterThan(given + unetBytes());
    expect((await draw()).pixels).toEqual(onDevice.pixels);
    expect(device.memory().live).toBe(given);
    memory.dispose();
    expect(pipe.memoryReport().components['unet']).toMatchObject({ device: 0, host: unetBytes() });
  });

  test('steps of a pipeline that shares offloaded models are traced too', async () => {
    pipe.enableModelCpuOffload();
    const other = new StableDiffusionPipeline(pipe.components);
    other.setProgressBarConfig({ disable: true });
    other.enableTracing();
    for (let i = 0; i < 2; i++) expect((await draw({}, other)).pixels).toEqual(onDevice.pixels);
    await draw(); // by then the VAE alone is on the device
    expect(device.memory().live).toBe(0);
    expect((await draw({}, other)).pixels).toEqual(onDevice.pixels);
    other.disableTracing();
    await draw();
  });
});

describe('sequential offload', () => {
  const reason =
    'a trace replays with all weights on the device, and sequential offload brings them layer by layer';

  test('and whole steps exclude each other, in either order', async () => {
    pipe.enableTracing();
    expect(() => pipe.enableSequentialCpuOffload()).toThrow(
      `enableSequentialCpuOffload: ${reason}; call disableTracing() first, or use enableModelCpuOffload() for both`,
    );
    pipe.disableTracing();
    pipe.enableSequentialCpuOffload();
    expect(() => pipe.enableTracing()).toThrow(
      `enableTracing: ${reason}; call disableSequentialCpuOffload() first, or use enableModelCpuOffload() for both`,
    );
    expect((await draw()).pixels).toEqual(onDevice.pixels);
  });

  test('and a traced UNet exclude each other, in either order', async () => {
    const remedy =
      'put the module itself in place of the traced unet, or use enableModelCpuOffload() for both';
    const traced = await traceUNet();
    pipe.unet = traced;
    expect(() => pipe.enableSequentialCpuOffload()).toThrow(
      `enableSequentialCpuOffload: ${reason}; ${remedy}`,
    );
    pipe.unet = unet;
    pipe.enableSequentialCpuOffload();
    expect((await draw()).pixels).toEqual(onDevice.pixels);
    pipe.unet = traced;
    await expect(draw()).rejects.toThrow(`sequential offload: ${reason}; ${remedy}`);
    pipe.unet = unet;
    expect((await draw()).pixels).toEqual(onDevice.pixels);
    const other = new StableDiffusionPipeline(pipe.components);
    other.setProgressBarConfig({ disable: true });
    expect(() => other.enableTracing()).toThrow(
      `enableTracing: ${reason}; call disableSequentialCpuOffload() on the pipeline that enabled it first`,
    );
    pipe.disableSequentialCpuOffload();
    other.enableTracing();
    pipe.enableSequentialCpuOffload(); // a pipeline does not know of the traces of another
    await expect(draw({}, other)).rejects.toThrow(`enableTracing: ${reason}`);
    other.disableTracing();
    pipe.disableSequentialCpuOffload();
  });
});
