// The parts of Stable Diffusion by themselves: a UNet step with guidance, VAE decode, text encoder. Device time between
// events; eager. Results are checked to be finite, because a fast NaN is no result.

import { scope, trace } from '@darkroom/core';
import { compileAhead } from '@darkroom/core/graph';
import type { Plan } from '@darkroom/core/graph';
import type { UNet2DConditionModel } from '@darkroom/diffusers';
import { tuneKey } from '@darkroom/core/backend';
import type { Device, Tensor, TuneMode } from '@darkroom/core';
import { randomTensor } from '../random-weights.ts';
import { byLabel, timedLaunches } from './in-graph.ts';
import { kernelTimes } from './kernels.ts';
import { build, modes, sizes, usePrecision } from './models.ts';
import type { Mode, ModeName } from './models.ts';
import type { KernelsRecord, TimingRecord, WorkName } from './records.ts';
import { sample } from './sampling.ts';
import type { SamplingOptions } from './sampling.ts';
import type { StageContext } from './stage.ts';

export type PartName = Exclude<WorkName, 'image'>;
export const partNames: readonly PartName[] = ['unet', 'vae', 'text'];

interface TracedPart {
  readonly run: () => Tensor;
  readonly plan: () => Plan;
  /** Frees its memory until the next run. */
  readonly release: () => void;
  readonly dispose: () => void;
}
interface Part {
  /** One forward; the caller disposes the result. */
  readonly run: () => Tensor;
  /** The UNet, traced on the same inputs. */
  readonly trace?: () => Promise<TracedPart>;
  readonly dispose: () => void;
}

/** With its kernels compiled. Batch 2 for guidance; the VAE decodes one picture. */
export async function openPart(name: PartName, device: Device, mode: Mode, tiny: boolean): Promise<Part> {
  usePrecision(device, mode);
  const size = sizes[tiny ? 'tiny' : 'full'];
  const side = size.latent;
  const model = await build(name, size, device, mode);
  const inputs =
    name === 'unet'
      ? [
          randomTensor([2, 4, side, side], device, mode.dtype),
          randomTensor([2, 77, size.contextSize], device, mode.dtype),
        ]
      : name === 'vae'
        ? [randomTensor([1, 4, side, side], device, mode.dtype)]
        : [];
  const ids = [0, 1].map((row) => Array.from({ length: 77 }, (_, i) => (i * 13 + row) % 1900));
  const [x, text] = inputs;
  const conditioning = { encoderHiddenStates: text! };
  const run = (): Tensor =>
    scope(() => {
      if ('decode' in model) return model.decode(x!);
      if ('text_model' in model) return model.call(ids).lastHiddenState;
      return model.call(x!, 500, conditioning).sample;
    });
  await compileAhead(device, () => void run());
  const traceUNet = async (unet: UNet2DConditionModel): ReturnType<NonNullable<Part['trace']>> => {
    const traced = await trace(unet, [x!, 500, conditioning]);
    return {
      run: () => scope(() => traced.call(x!, 500, conditioning).sample),
      plan: () => traced.plans[0]!,
      release: () => traced.release(),
      dispose: () => traced.dispose(),
    };
  };
  return {
    run,
    ...(name === 'unet' && { trace: () => traceUNet(model as UNet2DConditionModel) }),
    dispose: () => {
      model.dispose();
      for (const input of inputs) input.dispose();
    },
  };
}

/** An emulated device takes a second to compile each candidate: there only `rates` tries the autotuner. */
export const tuneMode = (tiny: boolean): TuneMode => (tiny ? 'cached' : 'full');

/**
 * Runs `work`, then measures what it noted for the autotuner, for at most `seconds`. Every winner is kept and recorded at
 * once: a stage that is ended while it tunes leaves the next ones what it found.
 */
export async function tuned(
  device: Device,
  { tuneStore, record, left }: StageContext,
  work: () => Promise<void>,
  seconds: number = Infinity,
): Promise<TimingRecord['tuned']> {
  const uses = await countUses(device, work);
  const start = performance.now();
  const { fingerprint } = device.caps;
  const winners = { ...(await tuneStore.load(fingerprint)) };
  device.tuner.onDecision = (decision) => {
    record({ kind: 'decision', ...decision });
    winners[decision.key] = { id: decision.winner };
    void tuneStore.save(fingerprint, winners).catch(() => {}); // the last save of all tells what is wrong
  };
  // The rest of the stage is for what is done with the winners.
  const keys = await device.tune({ seconds: Math.min(seconds, 0.9 * left()), uses });
  return { keys, seconds: (performance.now() - start) / 1000 };
}

/** How often `work` looks up a kernel for each key of the autotuner: once for every launch, traced ones included. */
async function countUses(device: Device, work: () => Promise<void>): Promise<ReadonlyMap<string, number>> {
  const uses = new Map<string, number>();
  const { kernels } = device;
  const get = kernels.get.bind(kernels);
  const counted: typeof get = (rules, op, inputs, out) => {
    const entry = get(rules, op, inputs, out);
    if (!entry?.kernel) return entry;
    const key = tuneKey(rules, op, [...inputs, ...(out ? [out] : entry.outputs)]);
    uses.set(key, (uses.get(key) ?? 1) + 1);
    return entry;
  };
  Object.defineProperty(kernels, 'get', { value: counted, configurable: true });
  try {
    await work();
  } finally {
    delete (kernels as { get?: unknown }).get;
  }
  return uses;
}

/** At least one run: a slow device's single run says more than a stage that was ended. */
export function samplingFor(tiny: boolean, seconds: number): SamplingOptions {
  return tiny ? { seconds: 0, least: 1, most: 1 } : { seconds, least: 1, most: 50 };
}

/** A stage: the autotuner's knowledge for a part in a mode, eager and traced, kept for the stages that follow. */
export function tunePart(mode: ModeName, part: PartName) {
  return async (context: StageContext): Promise<void> => {
    const { options, open, record, begin } = context;
    begin('open');
    const device = await open(tuneMode(options.tiny));
    begin('tune');
    let opened: Part | undefined;
    const value = await tuned(device, context, async () => {
      opened = await openPart(part, device, modes[mode], options.tiny);
      const traced = await opened.trace?.();
      traced?.dispose();
    });
    record({ kind: 'fact', name: `tuned ${part} ${mode}`, value: { ...value, left: device.tuner.pending } });
    opened?.dispose();
  };
}

/**
 * A stage: one part in one process. Its outputs are checked, it is timed eager, kernel by kernel, then traced (a step is
 * one graph), and the trace kernel by kernel; records come one by one. `label`: what is new in it, after the mode.
 */
export function timePart(mode: ModeName, part: PartName, label = '') {
  return async ({ options, open, record, begin }: StageContext): Promise<void> => {
    const { tiny } = options;
    begin('open');
    const clock = laps();
    const device = await open('cached');
    const opening = clock();
    begin('build and compile');
    const opened = await openPart(part, device, modes[mode], tiny);
    record({
      kind: 'fact',
      name: `start ${part} ${mode}${label}`,
      value: { msOpen: opening, msCompile: clock() },
    });
    const time = async (name: string, run: () => Tensor): Promise<void> => {
      begin(`${name}: check`);
      const first = run();
      const values = await first.data();
      first.dispose();
      if (!(values as Float32Array).every(Number.isFinite))
        throw new Error(`${part} ${name}: the output is not finite`);
      const spread = valuesOf(values as Float32Array);
      record({ kind: 'fact', name: `output ${part} ${name}`, value: { ...spread, msFirst: clock() } });
      run().dispose(); // a graph is captured the second time
      begin(`${name}: time`);
      device.resetPeakMemory();
      const ms = await sample(() => device.backend.time(() => run().dispose()), samplingFor(tiny, 2.5));
      const peakBytes = device.memory().peak;
      record({ kind: 'timing', work: part, mode: name, clock: 'device', ms, peakBytes, tuned: { keys: 0, seconds: 0 } }); // prettier-ignore
    };
    const profile = async (name: string, kernels: () => Promise<KernelsRecord['kernels']>): Promise<void> => {
      begin(`${name}: kernels`);
      record({ kind: 'kernels', work: part, mode: name, kernels: await kernels() });
    };
    const name = `${mode}${label}`;
    await time(name, opened.run);
    // WebGPU times one kernel only by waiting for it.
    if (device.backend.name !== 'webgpu') await profile(name, () => kernelTimes(device, opened.run, tiny));
    if (opened.trace) {
      begin(`${name}: trace`);
      const traced = await opened.trace();
      await time(`${name} traced`, traced.run);
      if (device.backend.compile) {
        const { plan, release } = traced;
        const run = (): void => traced.run().dispose();
        await profile(`${name} traced`, async () =>
          byLabel(await timedLaunches(device, plan(), { run, release }, tiny ? 1 : 20)),
        );
      }
      traced.dispose();
    }
    opened.dispose();
  };
}

/** Milliseconds since the last call. */
function laps(): () => number {
  let last = performance.now();
  return () => {
    const since = performance.now() - last;
    last += since;
    return Math.round(since);
  };
}

/** Enough to see that two runs of the same weights computed the same. */
function valuesOf(values: Float32Array): { readonly meanAbsolute: number; readonly largest: number } {
  let sum = 0;
  let largest = 0;
  for (const v of values) {
    sum += Math.abs(v);
    largest = Math.max(largest, Math.abs(v));
  }
  return { meanAbsolute: sum / values.length, largest };
}
