// The whole pipeline, from a prompt to RGB bytes, by the wall clock; and the table of features, each switched on after
// the others.

import { trace } from '@darkroom/core';
import { unetInputs } from '@darkroom/diffusers';
import type { StableDiffusionPipeline } from '@darkroom/diffusers';
import type { TuneMode } from '@darkroom/core';
import { buildPipeline, modes, sizes, usePrecision } from './models.ts';
import type { Mode, ModeName } from './models.ts';
import { samplingFor, tuned, tuneMode } from './modules.ts';
import { sample, spreadOf } from './sampling.ts';
import type { StageContext } from './stage.ts';

export interface ImageSetting {
  readonly name: string;
  readonly mode: Mode;
  readonly autotune: TuneMode;
  readonly attention: 'plain' | 'fused';
  readonly traced?: 'UNet' | 'steps';
}

const plain = { autotune: 'off', attention: 'plain' } as const;
const contiguous = (mode: Mode): Mode => ({ ...mode, format: 'contiguous' });

/**
 * Row by row of the seed's first table, tf32 from the section below it; each keeps what the rows before it switched on.
 */
export const features: readonly ImageSetting[] = [
  { name: 'none', mode: contiguous(modes.float32), ...plain },
  { name: '+ autotuner', mode: contiguous(modes.float32), ...plain, autotune: 'full' },
  { name: '+ tf32', mode: contiguous(modes.tf32), ...plain, autotune: 'full' },
  { name: '+ float16', mode: contiguous(modes.float16), ...plain, autotune: 'full' },
  { name: '+ channels-last', mode: modes.float16, ...plain, autotune: 'full' },
  { name: '+ traced UNet', mode: modes.float16, ...plain, autotune: 'full', traced: 'UNet' },
  {
    name: '+ memory-efficient attention',
    mode: modes.float16,
    autotune: 'full',
    attention: 'fused',
    traced: 'UNet',
  },
];

/** The best setting of a mode. */
export const bestOf = (mode: ModeName): ImageSetting => ({
  name: mode,
  mode: modes[mode],
  autotune: 'cached',
  attention: 'fused',
  traced: 'steps',
});

/** What one picture took by the wall clock. */
export interface DrawnTimes {
  readonly ms: number;
  /** From one step's end to the next's: one fewer than steps. */
  readonly stepMs: readonly number[];
}

/** Draws the guide's astronaut with guidance, `side` pixels wide and high. @throws Error for pictures of another size */
export async function drawTimed(
  pipe: StableDiffusionPipeline,
  { steps, side, images = 1 }: { readonly steps: number; readonly side: number; readonly images?: number },
): Promise<DrawnTimes> {
  const stepMs: number[] = [];
  let last = 0;
  const start = performance.now();
  const drawn = await pipe('a photo of an astronaut riding a horse on mars', {
    numInferenceSteps: steps,
    numImagesPerPrompt: images,
    guidanceScale: 7.5,
    width: side,
    height: side,
    seed: 1,
    callbackOnStepEnd: () => {
      const now = performance.now();
      if (last > 0) stepMs.push(now - last);
      last = now;
    },
  });
  const ms = performance.now() - start;
  const { width } = drawn.images[0]!;
  if (width !== side) throw new Error(`image: ${width} pixels wide, not ${side}`);
  return { ms, stepMs };
}

/** Replaces the pipeline's UNet by a traced one of pictures `side` pixels wide and high. */
export async function traceUNet(pipe: StableDiffusionPipeline, side: number): Promise<void> {
  pipe.unet = await trace(pipe.unet, unetInputs(pipe, { width: side, height: side }));
}

/** A stage: one picture of 512x512 in 50 steps with guidance, again and again. */
export function timeImage(setting: ImageSetting) {
  return async (context: StageContext): Promise<void> => {
    const { options, open, record, left, begin } = context;
    begin('open and build');
    const device = await open(setting.autotune === 'full' ? tuneMode(options.tiny) : setting.autotune);
    usePrecision(device, setting.mode);
    const size = sizes[options.tiny ? 'tiny' : 'full'];
    const pipe = await buildPipeline(size, device, setting.mode, options.model);
    if (setting.attention === 'plain') pipe.disableMemoryEfficientAttention();
    const side = size.latent * pipe.vaeScale;
    const steps: number[] = [];
    const draw = async (count: number): Promise<number> => {
      const { ms, stepMs } = await drawTimed(pipe, { steps: count, side });
      steps.push(...stepMs);
      return ms;
    };
    begin('compile and tune');
    // One step runs every kernel: compiled, and noted where the autotuner shall measure.
    const { keys, seconds } = await tuned(device, context, async () => void (await draw(1)), left() / 3);
    if (setting.traced === 'UNet') await traceUNet(pipe, side);
    if (setting.traced === 'steps') pipe.enableTracing();
    // To the scheduler's steady state. Text encoder and decoder are seen, recorded, and captured: a call each.
    if (setting.traced) for (let i = 0; i < 3; i++) await draw(i === 0 ? 10 : 2);
    begin('draw');
    device.resetPeakMemory();
    steps.length = 0;
    const ms = await sample(() => draw(size.steps), samplingFor(options.tiny, Math.min(15, left() / 3)));
    record({
      kind: 'timing',
      work: 'image',
      mode: setting.name,
      clock: 'wall',
      ms,
      peakBytes: device.memory().peak,
      tuned: { keys, seconds },
      stepMs: spreadOf(steps),
    });
    pipe.dispose();
  };
}
