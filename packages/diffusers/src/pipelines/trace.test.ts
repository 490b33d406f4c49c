// A traced UNet in place of the eager one: the same pictures, less memory management, and errors that say what to do.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadTraced, randomNormal, Scope, trace } from '@darkroom/core';
import { assign } from '@darkroom/core/backend';
import type { Device } from '@darkroom/core';
import { cpu } from '@darkroom/backend-cpu';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { emoji, tinyXL } from '../node/testing.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';
import { unetInputs } from './unet-inputs.ts';

let device: Device;
const folder = mkdtempSync(join(tmpdir(), 'darkroom-trace-'));
beforeAll(async () => {
  device = await cpu({ threads: 1 });
});
afterAll(() => {
  device[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

const load = (): Promise<StableDiffusionPipeline> =>
  StableDiffusionPipeline.fromPretrained(emoji, { device });
const quick = { numInferenceSteps: 3, guidanceScale: 4, seed: 7 };

test('the same picture traced, and from a file in another pipeline; memory goes back', async () => {
  const before = device.memory().live;
  const pipe = await load();
  const eager = (await pipe('a fox', quick)).images[0]!;
  const path = join(folder, 'unet.graph.json');
  const traced = await trace(pipe.unet, unetInputs(pipe));
  pipe.unet = traced;
  expect((await pipe('a fox', quick)).images[0]!.data).toEqual(eager.data);
  await traced.save(path);
  expect(traced.summary()).toMatch(
    /^\(float32\[2,4,16,16\], float32\[1\], \{ encoderHiddenStates: float32\[2,77,128\] \}\): \d+ ops → \d+ kernels, \d+ at every call; /,
  );
  pipe.dispose();
  expect(device.memory().live).toBe(before);

  const other = await load();
  other.unet = await loadTraced(path, { device, params: other.unet.stateDict!() });
  expect((await other('a fox', quick)).images[0]!.data).toEqual(eager.data);
  other.dispose();
  expect(device.memory().live).toBe(before);
});

test('without passes a step runs the kernels of the eager step, bit for bit', async () => {
  const pipe = await load();
  using memory = new Scope();
  const inputs = memory.run(() => ({
    sample: randomNormal([2, 4, 16, 16], { device, seed: 1 }),
    text: randomNormal([2, 77, 128], { device, seed: 2 }),
  }));
  const labels = (): string[] => device.profile.report().map((k) => `${k.calls} ${k.label}`).sort(); // prettier-ignore
  const profiled = (run: () => ReturnType<typeof pipe.unet.call>): { data: unknown; labels: string[] } => {
    device.profile.reset();
    device.profile.enabled = true;
    const { sample } = memory.run(run);
    device.profile.enabled = false;
    return { data: sample.dataSync(), labels: labels() };
  };
  const traced = await trace(pipe.unet, unetInputs(pipe), { passes: [] });
  const fused = await trace(pipe.unet, unetInputs(pipe));
  const call = [inputs.sample, 321, { encoderHiddenStates: inputs.text }] as const;
  const eager = profiled(() => pipe.unet.call(...call));
  const replayed = profiled(() => traced.call(...call));
  expect(replayed.data).toEqual(eager.data);
  // Beside the kernels of the UNet, a replay copies inputs into slots; the timestep is a number in one, not a fill.
  const kernels = (list: string[]): string[] => list.filter((l) => !/ (copy|fill)\//.test(l));
  expect(kernels(replayed.labels)).toEqual(kernels(eager.labels));
  expect(profiled(() => fused.call(...call)).data).toEqual(eager.data);
  for (const t of [traced, fused]) t.dispose();
  pipe.dispose();
});

test('another size says which were traced, until it is traced too', async () => {
  const pipe = await load();
  const traced = await trace(pipe.unet, unetInputs(pipe));
  pipe.unet = traced;
  const wide = { ...quick, width: 96 };
  await expect(pipe('a fox', wide)).rejects.toThrow(
    '[unet] call: was traced for (float32[2,4,16,16], float32[1], { encoderHiddenStates: float32[2,77,128] }), got (float32[2,4,16,24], ',
  );
  await traced.add(unetInputs(pipe, { width: 96 }));
  const got = (await pipe('a fox', wide)).images[0]!;
  expect(got.width).toBe(96);
  const eager = await load();
  expect((await eager('a fox', wide)).images[0]!.data).toEqual(got.data);
  await expect(pipe.to('float16')).rejects.toThrow('a traced module cannot be moved or converted');
  for (const p of [pipe, eager]) p.dispose();
});

test('SDXL: added conditions are inputs of the trace', async () => {
  const pipe = await tinyXL(device);
  const options = { ...quick, width: 64, height: 64 };
  const eager = (await pipe('a fox', options)).images[0]!;
  pipe.unet = await trace(pipe.unet, unetInputs(pipe, { width: 64, height: 64 }));
  expect((await pipe('a fox', options)).images[0]!.data).toEqual(eager.data);
  pipe.dispose();
});

test('weights that are converted after the trace are used as they are then', async () => {
  const pipe = await load();
  const { unet } = pipe;
  const traced = await trace(unet, unetInputs(pipe));
  pipe.unet = traced;
  await unet.to({ memoryFormat: 'channelsLast' });
  const got = (await pipe('a fox', quick)).images[0]!;
  pipe.unet = unet;
  expect((await pipe('a fox', quick)).images[0]!.data).toEqual(got.data);
  traced.dispose();
  pipe.dispose();
});

test('a weight written in place is seen, also by what is kept from call to call', async () => {
  const pipe = await load();
  using memory = new Scope();
  const call = memory.run(() => {
    const sample = randomNormal([2, 4, 16, 16], { device, seed: 1 });
    const text = randomNormal([2, 77, 128], { device, seed: 2 });
    return [sample, 321, { encoderHiddenStates: text }] as const;
  });
  const { unet } = pipe;
  const traced = await trace(unet, unetInputs(pipe));
  const [plan] = traced.plans;
  const textOnly = plan!.segments.filter((s) => s.reads.join() === 'arg2.encoderHiddenStates');
  const kept = textOnly.reduce((n, s) => n + s.to - s.from, 0);
  expect(kept).toBe(14); // keys and values of the prompt, in each of seven transformers
  const before = memory.run(() => traced.call(...call).sample).dataSync();
  const [, key] = [...unet.stateDict!()].find(([name]) => name.endsWith('attn2.to_k.weight'))!;
  memory.run(() => assign(randomNormal(key.shape, { device, seed: 3 }), key));
  const after = memory.run(() => traced.call(...call).sample).dataSync();
  expect(after).not.toEqual(before);
  expect(after).toEqual(memory.run(() => unet.call(...call).sample).dataSync());
  traced.dispose();
  pipe.dispose();
});

test('a width that is no multiple of the VAE scale is refused', async () => {
  const pipe = await load();
  expect(() => unetInputs(pipe, { width: 65 })).toThrow('width: must be divisible by 4');
  pipe.dispose();
});
