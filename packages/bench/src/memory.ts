// bench memory: peak device memory and time of each memory feature and their useful combinations. emoji-64 as a whole
// call; Stable Diffusion 1.5's real size, with random weights, as a UNet step and a VAE decode.

import { scope } from '@darkroom/core';
import type { AnyModule, Device, DType } from '@darkroom/core';
import { AutoencoderKL, fusedAttention, ModelOffload, plainAttention, SequentialOffload, StableDiffusionPipeline, UNet2DConditionModel } from '@darkroom/diffusers'; // prettier-ignore
import type { StableDiffusionOptions } from '@darkroom/diffusers';
import { randomTensor, randomWeights } from './random-weights.ts';
import { sd15UNet } from './sd15.ts';
import { buildPipeline, sizes } from './verify/models.ts';
import type { Mode } from './verify/models.ts';

export interface MemoryRow {
  readonly work: string;
  readonly setting: string;
  /** MiB at most: of tensors, and with what the allocator kept for reuse. */
  readonly peakMiB: number;
  readonly reservedMiB: number;
  /** A step of the call (emoji-64), or the forward pass. */
  readonly ms: number;
}

type Pipe = StableDiffusionPipeline;
/** Memory switches of a pipeline, under a name. */
export interface MemorySetting {
  readonly name: string;
  readonly host?: boolean;
  readonly set: (pipe: Pipe) => void | Promise<void>;
}
const scores = (pipe: Pipe): void => pipe.disableMemoryEfficientAttention();

/** Each memory switch by itself, and useful combinations; tiles of `tile` pixels. */
export const memorySettings = (tile: number): readonly MemorySetting[] => [
  { name: 'plain', set: () => {} },
  { name: 'score matrix in memory', set: scores },
  { name: 'scores, attention slicing auto', set: (p) => (scores(p), p.enableAttentionSlicing()) },
  { name: 'scores, attention slicing max', set: (p) => (scores(p), p.enableAttentionSlicing('max')) },
  { name: 'VAE slicing', set: (p) => p.enableVaeSlicing() },
  { name: `VAE tiling (${tile} px)`, set: (p) => p.enableVaeTiling({ tileSize: tile }) },
  { name: 'channels last', set: async (p) => void (await p.to({ memoryFormat: 'channelsLast' })) },
  { name: 'float16', set: async (p) => void (await p.to('float16')) },
  { name: 'model offload', host: true, set: (p) => p.enableModelCpuOffload() },
  { name: 'sequential offload', host: true, set: (p) => p.enableSequentialCpuOffload() },
  { name: 'sequential offload, groups of 8', host: true, set: (p) => p.enableSequentialCpuOffload({ groupSize: 8 }) },
  {
    name: 'sequential offload, VAE slicing and tiling',
    host: true,
    set: (p) => {
      p.enableSequentialCpuOffload();
      p.enableVaeSlicing();
      p.enableVaeTiling({ tileSize: tile });
    },
  },
]; // prettier-ignore

const steps = 4;

/** Four pictures of emoji-64 in one batch, with guidance. */
export async function memoryOfEmoji(device: Device, model: string): Promise<MemoryRow[]> {
  const call = { seed: 1, numInferenceSteps: steps, numImagesPerPrompt: 4, guidanceScale: 4 };
  const load = (weights: 'host' | 'device'): Promise<Pipe> =>
    StableDiffusionPipeline.fromPretrained(model, { device, weights });
  return memoryOfCalls('emoji-64, 4 pictures', memorySettings(32), load, call);
}

const sd15Settings: readonly MemorySetting[] = [
  { name: 'plain', set: () => {} },
  { name: 'score matrix in memory', set: scores },
  { name: 'scores, attention slicing max', set: (p) => (scores(p), p.enableAttentionSlicing('max')) },
  { name: 'model offload', host: true, set: (p) => p.enableModelCpuOffload() },
  { name: 'sequential offload', host: true, set: (p) => p.enableSequentialCpuOffload() },
  {
    name: 'sequential offload, VAE tiling',
    host: true,
    set: (p) => {
      p.enableSequentialCpuOffload();
      p.enableVaeTiling({ tileSize: 256 });
    },
  },
];

/** One picture of SD 1.5's real size, text to pixels, with guidance: for devices that are quick, or only plan. */
export async function memoryOfSd15Calls(device: Device, model: string, mode: Mode): Promise<MemoryRow[]> {
  const call = { seed: 1, numInferenceSteps: 2, guidanceScale: 7.5 };
  const load = async (weights: 'host' | 'device'): Promise<Pipe> => {
    const pipe = await buildPipeline(sizes.full, device, mode, model);
    if (weights === 'host') await pipe.toHost();
    return pipe;
  };
  return memoryOfCalls(`SD 1.5, 512x512, ${mode.name}`, sd15Settings, load, call);
}

/** A call under each setting in turn, each with a pipeline of its own; first a call of one step that is not counted. */
export async function memoryOfCalls(
  work: string,
  list: readonly MemorySetting[],
  load: (weights: 'host' | 'device') => Promise<Pipe>,
  call: StableDiffusionOptions & { numInferenceSteps: number },
): Promise<MemoryRow[]> {
  const rows: MemoryRow[] = [];
  for (const { name, host, set } of list) {
    using pipe = await load(host ? 'host' : 'device');
    pipe.setProgressBarConfig({ disable: true });
    await set(pipe);
    await pipe('a fox', { ...call, numInferenceSteps: 1 }); // kernels are made, offload learns its order
    const draw = (): Promise<void> => pipe('a fox', call).then(() => {});
    rows.push(await measure(pipe.device, work, name, call.numInferenceSteps, draw));
  }
  return rows;
}

async function measure(
  device: Device,
  work: string,
  setting: string,
  parts: number,
  body: () => Promise<void>,
): Promise<MemoryRow> {
  device.emptyCache();
  device.resetPeakMemory();
  const start = performance.now();
  await body();
  await device.idle();
  const ms = (performance.now() - start) / parts;
  const { peak, peakReserved } = device.memory();
  return { work, setting, peakMiB: peak / 2 ** 20, reservedMiB: peakReserved / 2 ** 20, ms };
}

/** Latents of `size` × `size`; 64 is the real size, which only a GPU does in a reasonable time. */
export async function memoryOfParts(device: Device, size: number, dtype: DType): Promise<MemoryRow[]> {
  return [...(await unetRows(device, size, dtype)), ...(await vaeRows(device, size, dtype))];
}

async function unetRows(device: Device, size: number, dtype: DType): Promise<MemoryRow[]> {
  using unet = UNet2DConditionModel.fromConfig(sd15UNet, 'SD 1.5');
  randomWeights(unet, device, dtype);
  using sample = randomTensor([2, 4, size, size], device, dtype);
  using text = randomTensor([2, 77, 768], device, dtype);
  const work = `SD 1.5 UNet, batch 2, ${size}x${size}, ${dtype}`;
  const step = async (): Promise<void> => {
    scope(() => unet.call(sample, 500, { encoderHiddenStates: text }).sample).dispose();
  };
  const rows: MemoryRow[] = [];
  const run = async (setting: string): Promise<void> => {
    await step();
    await device.idle();
    rows.push(await measure(device, work, setting, 1, step));
  };
  await run('plain');
  unet.setAttnProcessor(plainAttention);
  await run('score matrix in memory');
  unet.setAttentionSlice('max');
  await run('scores, attention slicing max');
  unet.setAttentionSlice(undefined);
  unet.setAttnProcessor(fusedAttention);
  await unet.to({ memoryFormat: 'channelsLast' });
  await run('channels last');
  await unet.toHost();
  for (const [name, make] of [
    ['model offload', () => new ModelOffload({ unet })],
    ['sequential offload', () => new SequentialOffload({ unet })],
    ['sequential offload, no prefetch', () => new SequentialOffload({ unet }, { prefetch: false })],
    ['sequential offload, groups of 64 MiB', () => new SequentialOffload({ unet }, { maxMemory: 64 << 20 })],
  ] as const) {
    const offload = make();
    await run(`channels last, ${name}`);
    offload.leave();
  }
  return rows;
}

async function vaeRows(device: Device, size: number, dtype: DType): Promise<MemoryRow[]> {
  using vae = AutoencoderKL.fromConfig(sizes.full.vae, 'SD 1.5');
  randomWeights(vae as AnyModule, device, dtype);
  const rows: MemoryRow[] = [];
  const run = async (setting: string, batch: number): Promise<void> => {
    using latents = randomTensor([batch, 4, size, size], device, dtype);
    const work = `SD 1.5 VAE decode, ${batch} of ${size}x${size}, ${dtype}`;
    rows.push(
      await measure(device, work, setting, 1, async () => void scope(() => vae.decode(latents)).dispose()),
    );
  };
  await run('plain', 1);
  vae.enableTiling({ tileSize: 4 * size });
  await run(`tiling (${4 * size} px)`, 1);
  vae.disableTiling();
  await run('plain', 2);
  vae.enableSlicing();
  await run('slicing', 2);
  return rows;
}
