// Draws the pictures of a command line, and says where they are and how they are drawn again.

import { ArgumentError, loadTraced } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { UNetPipeline } from '@darkroom/diffusers';
import type { AnyPipeline, Image } from '@darkroom/diffusers';
import type { Again } from './again.ts';
import { grid } from './grid.ts';
import { loadChosen, openChosen } from './model.ts';
import type { ModelChoice } from './model.ts';
import { Outputs } from './outputs.ts';
import type { OutputOptions } from './outputs.ts';
import { Progress, progressOfLoading } from './progress.ts';
import { hintFor } from './subjects.ts';
import { pipelineFor, readPictures, sizeOfPictures, switchMemory } from './task.ts';
import type { Draw, PictureOptions, TaskOptions } from './task.ts';

export interface DrawOptions extends TaskOptions, ModelChoice, OutputOptions {
  readonly grid?: boolean;
  readonly steps: number;
  readonly guidance?: number;
  readonly negative?: string;
  readonly seed?: bigint;
  readonly count: number;
  readonly scheduler?: string;
  readonly tf32?: boolean;
  readonly autotune?: boolean;
  /** true: trace whole steps; a path: load the UNet's trace from there. */
  readonly trace?: true | string;
  readonly quiet?: boolean;
}

/** The seed of picture `i`: the next one for each, within 64 bits. */
function seedOf(first: bigint, i: number): number | bigint {
  const seed = (first + BigInt(i)) % 2n ** 64n;
  return seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seed) : seed;
}

/** Draws `count` pictures of each prompt. @throws what wrong use and failures throw */
export async function draw(
  prompts: readonly string[],
  options: DrawOptions,
  again?: Pick<Again, 'tacit' | 'batch'>,
): Promise<void> {
  const total = prompts.length * options.count;
  const outputs = new Outputs(options, options.grid ? 1 : total);
  outputs.requireRoom(prompts, options.negative);
  const pictures = await readPictures(options);
  await outputs.try();
  const say = (line: string): void => void (options.quiet || process.stderr.write(`${line}\n`));
  if (options.model === undefined) for (const text of new Set(prompts.map(hintFor))) if (text) say(text);
  const aborter = new AbortController();
  const stop = (): void => aborter.abort(new DOMException('interrupted', 'AbortError'));
  process.once('SIGINT', stop);
  const progress = new Progress(options.quiet ? undefined : process.stderr);
  const device = await openChosen(options);
  try {
    const pipe = await prepare(options, device, pictures, progress, aborter.signal);
    const call = callOf(pipe, options, pictures, again, aborter.signal);
    const drawPictures = pipe as unknown as Draw;
    await outputs.try(pixelsOf(pipe, call));
    const first = options.seed ?? BigInt(crypto.getRandomValues(new Uint32Array(1))[0]!);
    if (options.autotune)
      await tune(device, progress, say, () =>
        drawPictures(prompts[0]!, { ...call, seed: seedOf(first, 0), numInferenceSteps: 1 }),
      );
    await startTraces(pipe, device, options);
    device.resetPeakMemory();
    const start = performance.now();
    const written: Written[] = [];
    const wrote = (path: string, image: Image): void => {
      progress.clear();
      written.push({ path, image });
      const seed = image.parameters?.seed;
      if (path !== '-')
        say(`wrote ${path} (${image.width}x${image.height})${total > 1 ? `, seed ${String(seed)}` : ''}`);
    };
    let steps = 0;
    const all: Image[] = [];
    for (const [p, prompt] of prompts.entries()) {
      const from = p * options.count;
      const seeds = Array.from({ length: options.count }, (_, i) => seedOf(first, from + i));
      const { batch } = again ?? {};
      const { images } = await drawPictures(prompt, {
        ...call,
        numImagesPerPrompt: batch?.size ?? options.count,
        seed: batch ? seeds[0]! : seeds,
        callbackOnStepEnd: () => void steps++,
      });
      const wanted = batch ? [images[batch.index]!] : images;
      if (options.grid) all.push(...wanted);
      else await outputs.save(wanted, from, wrote);
      aborter.signal.throwIfAborted();
    }
    const seconds = (performance.now() - start) / 1000;
    if (options.grid) await outputs.save([grid(all)], 0, wrote);
    for (const traced of pipe.tracedSteps) say(traced.summary());
    report({ options, device, written, total, first, steps, seconds }, say);
    pipe.dispose();
  } finally {
    progress.clear();
    process.removeListener('SIGINT', stop);
    device[Symbol.dispose]();
  }
}

/** The pipeline, loaded and switched as the options say; an abort ends downloads and loading too. */
async function prepare(
  options: DrawOptions,
  device: Device,
  pictures: PictureOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<AnyPipeline> {
  const report = progressOfLoading(progress, () => signal.throwIfAborted());
  const loaded = await loadChosen(options, device, options.offload && 'host', report);
  progress.clear();
  const pipe = pipelineFor(loaded, pictures);
  const channelsLast = options.channelsLast ?? device.caps.convFormat === 'channelsLast';
  await switchMemory(pipe, { ...options, channelsLast });
  if (options.tf32) device.precision.matmul = 'tf32';
  if (options.scheduler) pipe.useScheduler(options.scheduler);
  pipe.setProgressBarConfig(
    options.quiet ? { disable: true } : { create: (total, label) => progress.bar(total, label) },
  );
  return pipe;
}

function callOf(
  pipe: AnyPipeline,
  options: DrawOptions,
  pictures: PictureOptions,
  again: Pick<Again, 'tacit'> | undefined,
  signal: AbortSignal,
): Parameters<Draw>[1] {
  const guidance = options.guidance ?? (options.model === undefined ? 4 : undefined);
  return {
    ...again?.tacit,
    ...sizeOfPictures(pipe, pictures),
    numInferenceSteps: options.steps,
    ...(guidance !== undefined && { guidanceScale: guidance }),
    numImagesPerPrompt: options.count,
    signal,
    ...(options.negative !== undefined && { negativePrompt: options.negative }),
  };
}

async function tune(
  device: Device,
  progress: Progress,
  say: (line: string) => void,
  collect: () => Promise<unknown>,
): Promise<void> {
  say('tuning: timing kernels for these sizes');
  device.autotune = 'full';
  await collect();
  const onProgress = (done: number, total: number): void => progress.report('tuning', done, total, 'kernels');
  const tuned = await device.tune({ onProgress });
  progress.clear();
  say(`tuning: ${tuned} kernels chosen`);
}

async function startTraces(pipe: AnyPipeline, device: Device, { trace }: DrawOptions): Promise<void> {
  if (trace === undefined) return;
  if (trace === true) pipe.enableTracing();
  else if (pipe instanceof UNetPipeline)
    pipe.unet = await loadTraced(trace, { device, params: pipe.unet.stateDict!() });
  else throw new ArgumentError(`--trace: ${trace} holds a UNet, and a ${pipe.className} has none`);
}

interface Written {
  readonly path: string;
  readonly image: Image;
}

interface Done {
  readonly options: DrawOptions;
  readonly device: Device;
  readonly written: readonly Written[];
  readonly total: number;
  readonly first: bigint;
  readonly steps: number;
  readonly seconds: number;
}

/** What was drawn, how fast, and how it is drawn again: as text on stderr, as JSON on stdout. */
function report(
  { options, device, written, total, first, steps, seconds }: Done,
  say: (line: string) => void,
): void {
  const seeds = Array.from({ length: total }, (_, i) => seedOf(first, i));
  const shown = seeds.length <= 8 ? seeds.join(', ') : `${seeds[0]} to ${seeds.at(-1)}`;
  if (options.json) process.stdout.write(`${jsonOf({ device, written, seeds, steps, seconds })}\n`);
  if (options.quiet) return void process.stderr.write(`seed ${shown}\n`);
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  const resident = process.resourceUsage().maxRSS * 1024;
  say(
    `device ${device.name} (${device.caps.fingerprint}), seed ${shown}, ${steps} steps, ` +
      `${(seconds / Math.max(1, steps)).toFixed(3)} s a step, ${seconds.toFixed(2)} s in all, ` +
      `peak memory ${mib(device.memory().peak)} in tensors, ${mib(resident)} in the process`,
  );
  if (total > 1) say('one of them alone: its own --seed and no --count, or --from the picture');
}

function jsonOf({
  device,
  written,
  seeds,
  steps,
  seconds,
}: Pick<Done, 'device' | 'written' | 'steps' | 'seconds'> & { seeds: readonly (number | bigint)[] }): string {
  const result = {
    pictures: written.map(({ path, image }) => ({
      path,
      width: image.width,
      height: image.height,
      parameters: image.parameters,
    })),
    seeds,
    device: device.name,
    adapter: device.caps.fingerprint,
    steps,
    seconds,
    peakBytes: device.memory().peak,
  };
  // Seeds beyond a double's integers are texts.
  return JSON.stringify(result, (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v), 2);
}

/** Pixels of a picture, from the options or the model's default size. */
function pixelsOf(pipe: AnyPipeline, { width, height, image }: PictureOptions): number {
  const trained = pipe.defaultSize;
  const pixels = (width ?? image?.width ?? trained.width) * (height ?? image?.height ?? trained.height);
  return pixels > 0 ? pixels : 0;
}
