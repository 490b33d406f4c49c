// bench trace: steps traced beside eager, interleaved in one run: emoji-64 as trained, its UNet and a pipeline's whole
// step, and the UNet at Stable Diffusion 1.5's real size with random weights. The sample and the timestep are new at
// every call, the prompt is not, as in a loop.

import { map, scope, trace } from '@darkroom/core';
import { measureRates } from '@darkroom/core/backend';
import type { Device, DType, Tensor } from '@darkroom/core';
import type { PlanSummary } from '@darkroom/core/graph';
import { StableDiffusionPipeline, UNet2DConditionModel, unetInputs } from '@darkroom/diffusers';
import { summarize } from './measure.ts';
import { randomTensor, randomWeights } from './random-weights.ts';
import { sd15UNet } from './sd15.ts';

export interface TraceRow {
  readonly work: string;
  /** Kernels of an eager call, of the plan, and of the plan at every call. */
  readonly kernels: readonly [eager: number, plan: number, everyCall: number];
  readonly valuesMiB: number;
  readonly arenaMiB: number;
  readonly packedMiB: number;
  /** Predicted from the device's own rates of product and copy. */
  readonly leastMs: number;
  readonly eager: Times;
  readonly traced: Times;
}

/** Milliseconds of a call until its result is there, and of these the host's until all work is enqueued. */
export interface Times {
  readonly medianMs: number;
  readonly fastestMs: number;
  readonly hostMs: number;
}

interface Sampled {
  readonly all: number[];
  readonly host: number[];
}

/** One picture with guidance: a batch of two. */
export async function benchTraceOfEmoji(device: Device, model: string, runs: number): Promise<TraceRow> {
  using pipe = await StableDiffusionPipeline.fromPretrained(model, { device });
  const [sample, , { encoderHiddenStates: text }] = unetInputs(pipe);
  const { unet } = pipe;
  if (!(unet instanceof UNet2DConditionModel))
    throw new TypeError(`${model}: its UNet is not a model to trace`);
  const shapes = { sample: sample.shape, text: text.shape };
  return await compare(`emoji-64 UNet, batch ${sample.shape[0]}`, unet, shapes, device, 'float32', runs);
}

/** Times of a pipeline's step, with guidance and the scheduler; eager and traced pictures are drawn in turn. */
export async function benchWholeSteps(device: Device, model: string, runs: number): Promise<TraceRow> {
  using eager = await StableDiffusionPipeline.fromPretrained(model, { device });
  const traced = new StableDiffusionPipeline(eager.components);
  traced.enableTracing();
  const numInferenceSteps = 25;
  const untimed = 2; // the first steps of a picture are its start, and where a trace is made
  const draw = async (pipe: StableDiffusionPipeline, into?: Sampled): Promise<void> => {
    pipe.setProgressBarConfig({ disable: true });
    pipe.useScheduler('DDIMScheduler');
    let start = 0;
    const callbackOnStepEnd = async (_: unknown, step: number): Promise<void> => {
      const enqueued = performance.now();
      await device.idle();
      if (step >= untimed) into?.all.push(performance.now() - start);
      if (step >= untimed) into?.host.push(enqueued - start);
      start = performance.now();
    };
    const call = {
      numInferenceSteps,
      guidanceScale: 4,
      seed: 1,
      outputType: 'latent',
      callbackOnStepEnd,
    } as const;
    (await pipe('a fox on a blue background', call)).tensor!.dispose();
  };
  const [one, other]: [Sampled, Sampled] = [sampled(), sampled()];
  for (const pipe of [eager, traced]) await draw(pipe);
  for (let i = 0; i < Math.ceil(runs / (numInferenceSteps - untimed)); i++) {
    await draw(eager, one);
    await draw(traced, other);
  }
  const [plan] = traced.tracedSteps[0]!.summaries(await measureRates(device, ['float32']));
  traced.disableTracing();
  return rowOf('emoji-64, a whole step with guidance and DDIM', plan!, one, other);
}

export async function benchTraceOfSd15(
  device: Device,
  latents: number,
  dtype: DType,
  runs: number,
): Promise<TraceRow> {
  using unet = UNet2DConditionModel.fromConfig(sd15UNet, 'SD 1.5');
  randomWeights(unet, device, dtype);
  if (device.caps.convFormat === 'channelsLast') await unet.to({ memoryFormat: 'channelsLast' });
  const shapes = { sample: [2, 4, latents, latents], text: [2, 77, 768] };
  return await compare(
    `SD 1.5 UNet, batch 2, ${latents}x${latents}, ${dtype}`,
    unet,
    shapes,
    device,
    dtype,
    runs,
  );
}

async function compare(
  work: string,
  unet: UNet2DConditionModel,
  shapes: Readonly<Record<'sample' | 'text', readonly number[]>>,
  device: Device,
  dtype: DType,
  runs: number,
): Promise<TraceRow> {
  using text = randomTensor(shapes.text, device, dtype);
  using sample = randomTensor(shapes.sample, device, dtype);
  const traced = await trace(unet, [sample, 500, { encoderHiddenStates: text }]);
  const call = async (what: typeof unet | typeof traced, i: number, into?: Sampled): Promise<void> => {
    using fresh = map(['in', 0], [sample]);
    await device.idle();
    const start = performance.now();
    const out: Tensor = scope(() => what.call(fresh, 900 - (i % 800), { encoderHiddenStates: text }).sample);
    const enqueued = performance.now();
    await device.idle();
    into?.all.push(performance.now() - start);
    into?.host.push(enqueued - start);
    out.dispose();
  };
  const [eager, replayed]: [Sampled, Sampled] = [sampled(), sampled()];
  for (let i = 0; i < 2; i++) for (const what of [unet, traced]) await call(what, i);
  for (let i = 0; i < runs; i++) {
    await call(unet, i, eager);
    await call(traced, i, replayed);
  }
  const [summary] = traced.summaries(await measureRates(device, [dtype]));
  return rowOf(work, summary!, eager, replayed);
}

const sampled = (): Sampled => ({ all: [], host: [] });

function rowOf(work: string, plan: PlanSummary, eager: Sampled, replayed: Sampled): TraceRow {
  return {
    work,
    kernels: [plan.opsBefore, plan.launches, plan.launchesAtEveryCall],
    valuesMiB: plan.unsharedBytes / 2 ** 20,
    arenaMiB: plan.arenaBytes / 2 ** 20,
    packedMiB: plan.packedBytes / 2 ** 20,
    leastMs: plan.rooflineMs!,
    eager: timesOf(eager),
    traced: timesOf(replayed),
  };
}

function timesOf({ all, host }: Sampled): Times {
  const { medianMs, fastestMs } = summarize('', all);
  return { medianMs, fastestMs, hostMs: summarize('', host).medianMs };
}
