// bench sd15: one UNet forward of Stable Diffusion 1.5's real size with random weights, 32x32 latents: time, rate, and
// memory beside the weights.

import { scope } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { UNet2DConditionModel } from '@darkroom/diffusers';
import { randomTensor, randomWeights } from './random-weights.ts';

export const sd15UNet = {
  act_fn: 'silu',
  attention_head_dim: 8,
  block_out_channels: [320, 640, 1280, 1280],
  cross_attention_dim: 768,
  down_block_types: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
  in_channels: 4,
  layers_per_block: 2,
  norm_eps: 1e-5,
  norm_num_groups: 32,
  out_channels: 4,
  sample_size: 64,
  up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
} as const;

/** FLOPs of one forward at batch 1, 32x32 latents (counted from the real configuration). */
const flops = 180.44e9;

export interface Sd15Result {
  readonly seconds: number;
  readonly gflops: number;
  readonly weightsMiB: number;
  readonly peakDeviceMiB: number;
  readonly residentMiB: number;
  /** Resident memory of the process beyond the weights. */
  readonly beyondWeightsMiB: number;
}

export async function benchSd15(device: Device): Promise<Sd15Result> {
  const unet = UNet2DConditionModel.fromConfig(sd15UNet, 'SD 1.5');
  randomWeights(unet, device);
  const weights = unet.bytes;
  const sample = randomTensor([1, 4, 32, 32], device);
  const text = randomTensor([1, 77, 768], device);
  device.resetPeakMemory();
  let resident = process.memoryUsage.rss();
  const watch = (): void => void (resident = Math.max(resident, process.memoryUsage.rss()));
  const start = performance.now();
  const out = scope(() => unet.call(sample, 500, { encoderHiddenStates: text }).sample);
  await device.idle();
  const seconds = (performance.now() - start) / 1000;
  watch();
  const values = (await out.data()) as Float32Array;
  if (!values.every(Number.isFinite)) throw new Error('sd15: the output is not finite');
  // The high-water mark of the whole run, where the system tells it.
  resident = Math.max(resident, process.resourceUsage().maxRSS * 1024);
  const mib = (bytes: number): number => Math.round(bytes / 2 ** 20);
  const result = {
    seconds,
    gflops: flops / seconds / 1e9,
    weightsMiB: mib(weights),
    peakDeviceMiB: mib(device.memory().peak),
    residentMiB: mib(resident),
    beyondWeightsMiB: mib(resident - weights),
  };
  unet.dispose();
  return result;
}
