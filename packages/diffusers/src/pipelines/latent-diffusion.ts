// The call that all pipelines share: check, encode, denoise in latent space, decode. A pipeline says what its options
// mean and what its UNet reads, in the methods declared abstract or overridable here.

import {
  ArgumentError,
  cast,
  checkOptions,
  compileAhead,
  concat,
  DarkroomError,
  debug,
  keep,
  scope,
  Scope,
  Tensor,
  tensor,
  toAsync,
  traceOptionNames,
} from '@darkroom/core';
import type { Device, OptionNames, TraceOptions } from '@darkroom/core';
import { Image } from '../image/image.ts';
import type { UNetOptions } from '../models/unet2d-condition.ts';
import { replayNeedsAll } from '../offload/policy.ts';
import type { SequentialOffloadOptions } from '../offload/sequential.ts';
import { progressBar } from '../progress/progress.ts';
import type { Generator } from '../random/generator.ts';
import type { Schedule } from '../schedulers/scheduler.ts';
import { checkChanged } from './callback-tensors.ts';
import type { RunningCall } from './calls.ts';
import { requireMemory } from './check-memory.ts';
import type { CheckedCall } from './check-call.ts';
import { guidanceEmbedding, guide, rescaleGuidance } from './guidance.ts';
import { drawNoise, generatorsFor } from './noise.ts';
import type { CallOptions, Interruptible, LoopTensors, StableDiffusionOutput } from './options.ts';
import { Pipeline } from './pipeline.ts';
import type { PipelineComponents } from './pipeline.ts';
import { StepTraces } from './step-traces.ts';
import type { StepTrace } from './step-traces.ts';
import { decodeToPixels } from './vae-latents.ts';

/** What the user gave, on the pipeline's device and in its dtype, by option. */
export type CallInputs = Readonly<Record<string, Tensor>>;

/** What belongs to one call; a pipeline serves several at once. */
export interface Run<K extends CheckedCall, T extends LoopTensors> {
  readonly call: K;
  readonly schedule: Schedule;
  /** Indices of the schedule's steps that are run: begin … end - 1. */
  readonly begin: number;
  readonly end: number;
  readonly generators: readonly Generator[];
  readonly tensors: T;
}

/** Resolves in a later turn of the event loop, as soon as the platform can. */
function macrotask(): Promise<void> {
  return new Promise((resolve) =>
    typeof setImmediate === 'function' ? setImmediate(resolve) : setTimeout(resolve, 0),
  );
}

export abstract class LatentDiffusionPipeline<
  O extends CallOptions<T>,
  K extends CheckedCall = CheckedCall,
  T extends LoopTensors = LoopTensors,
  C extends PipelineComponents = PipelineComponents,
>
  extends Pipeline<C>
  implements Interruptible
{
  /** The order in which model offload runs components. */
  static readonly offloadOrder: readonly string[] = ['textEncoder', 'unet', 'vae'];
  /** Calls whose kernels were compiled ahead, by what they depend on; kept for one device. */
  #traces: StepTraces<T> | undefined;
  #compiled: { readonly device: Device; readonly calls: Set<string> } | undefined;

  /** The options that a call takes, by name: what else is given is refused. */
  protected abstract readonly optionNames: OptionNames<O>;
  /** Throws for bad arguments, before anything runs. */
  protected abstract check(prompt: string | readonly string[] | undefined, options: O): K;
  /** Brings what the user gave onto the device; the call owns it. */
  protected abstract inputs(call: K, options: O): Promise<CallInputs>;
  /** Everything the loop starts from. Runs on abstract inputs too, so it reads no values. */
  protected abstract prepare(run: Omit<Run<K, T>, 'tensors'>, inputs: CallInputs): T;

  /** Which steps of the schedule are run. */
  protected window(_call: K, schedule: Schedule): { begin: number; end: number } {
    return { begin: 0, end: schedule.timesteps.length };
  }
  /** What the UNet reads, from the scaled latents of the (doubled) batch. */
  protected modelInput(scaled: Tensor, _tensors: T): Tensor {
    return scaled;
  }
  protected unetOptions(_tensors: T): UNetOptions {
    return {};
  }
  /** Latents after step i, before the next. */
  protected afterStep(latents: Tensor, _run: Run<K, T>, _i: number): Tensor {
    return latents;
  }
  /** Final latents → [n, 3, h, w] in [0, 1]. */
  protected pixels(latents: Tensor): Tensor {
    return decodeToPixels(this.vae, latents, this.computeDtype);
  }

  protected override invoke(
    prompt?: string | readonly string[],
    options: O = {} as O,
  ): Promise<StableDiffusionOutput> {
    return this.generate(prompt, options);
  }

  /** The call itself; `pipe(prompt, options)` is the same. */
  async generate(
    prompt: string | readonly string[] | undefined,
    options: O = {} as O,
  ): Promise<StableDiffusionOutput> {
    checkOptions(this.className, options, this.optionNames);
    const call = this.check(prompt, options);
    requireMemory(this, call, options);
    options.signal?.throwIfAborted();
    if (this.#traces) this.offload.refuseLayers('enableTracing');
    const offload = this.offload.begin();
    const running = this.calls.start();
    const memory = new Scope();
    let schedule: Schedule | undefined;
    try {
      await offload.ready;
      schedule = this.scheduler.schedule(call.schedule);
      const window = this.window(call, schedule);
      const { generators, seeds } = generatorsFor(options, call.images);
      const inputs = await this.inputs(call, options);
      adoptAll(memory, inputs);
      await this.#compile(call, options, inputs);
      const start = { call, schedule, ...window, generators };
      const tensors = scope(() => this.prepare(start, inputs));
      adoptAll(memory, tensors);
      checkNames(options.callbackOnStepEndTensors ?? [], tensors);
      await this.#denoise({ ...start, tensors }, running, options, memory);
      return await this.#finish(tensors.latents, options, seeds);
    } finally {
      offload.finish();
      schedule?.dispose();
      memory.dispose();
      this.calls.end(running);
    }
  }

  /** Tensors of the user's, by option, on the pipeline's device and in its dtype; new handles. */
  protected async givenTensors(options: O, names: readonly (keyof O & string)[]): Promise<CallInputs> {
    const inputs: Record<string, Tensor> = {};
    for (const name of names) {
      const given = options[name] as Tensor | undefined;
      if (given) inputs[name] = await toAsync(given, { device: this.device, dtype: this.computeDtype });
    }
    return inputs;
  }

  /** Where the device compiles: all kernels of a call at once, before its first such call, instead of one by one. */
  async #compile(call: K, options: O, inputs: CallInputs): Promise<void> {
    const { device, computeDtype } = this;
    if (!device.backend.ready) return;
    if (this.#compiled?.device !== device) this.#compiled = { device, calls: new Set() };
    const shapes = Object.entries(inputs).map(([name, t]) => [name, t.shape]);
    const { latentShape, guided, guidanceRescale, texts } = call;
    const { className } = this.scheduler;
    const negated = texts.map((t) => t.negatives !== undefined);
    const key = JSON.stringify([
      latentShape,
      guided,
      guidanceRescale > 0,
      className,
      computeDtype,
      shapes,
      negated,
    ]);
    if (this.#compiled.calls.has(key)) return;
    const schedule = this.scheduler.schedule(call.schedule);
    try {
      await compileAhead(device, () => {
        const like = (t: Tensor): Tensor => Tensor.abstract(t.dtype, t.shape, device);
        const abstract = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, like(t)]));
        const { generators } = generatorsFor({ seed: 0 }, call.images);
        const start = { call: blank(call), schedule, ...this.window(call, schedule), generators };
        const run = { ...start, tensors: this.prepare(start, abstract) };
        // Later steps of a multistep solver read earlier outputs.
        for (let i = run.begin; i < Math.min(run.begin + 4, run.end); i++)
          run.tensors.latents = this.#step(run, run.tensors.latents, i);
        if (options.outputType !== 'latent') this.pixels(run.tensors.latents);
      });
    } finally {
      schedule.dispose();
    }
    this.#compiled.calls.add(key);
  }

  /** Runs the steps; the final latents stand in run.tensors, which `memory` frees. */
  async #denoise(run: Run<K, T>, running: RunningCall, options: O, memory: Scope): Promise<void> {
    const { schedule, begin, end, tensors } = run;
    const bar = await progressBar(end - begin, this.progress);
    const replace = (changed: Partial<T>): void => {
      for (const [name, next] of Object.entries(changed) as [keyof T, Tensor][]) {
        const old = tensors[name] as Tensor;
        if (next === old) continue;
        old.dispose();
        memory.adopt(next);
        tensors[name] = next as T[keyof T];
      }
    };
    try {
      for (let i = begin; i < end; i++) {
        options.signal?.throwIfAborted();
        replace({ latents: await this.#next(run, i) } as Partial<T>);
        if (options.callbackOnStepEnd) {
          const shown: Partial<T> = { latents: tensors.latents } as Partial<T>;
          for (const name of options.callbackOnStepEndTensors ?? []) shown[name] = tensors[name];
          const changed = await this.calls.callback(running, this, (pipe) =>
            options.callbackOnStepEnd!(pipe, i - begin, schedule.timesteps[i]!, shown as T),
          );
          replace(checkChanged(changed, tensors));
        }
        bar.update(i + 1 - begin, `peak ${(this.device.memory().peak / 2 ** 20).toFixed(0)} MiB`);
        // Lets a signal, a timer or the terminal in between steps.
        await this.device.idle();
        await macrotask();
        if (running.interrupt) break;
      }
    } finally {
      bar.stop();
    }
  }

  /** Latents after step i. */
  async #next(run: Run<K, T>, i: number): Promise<Tensor> {
    const { latents } = run.tensors;
    if (!this.#traces || debug.checkFinite) return scope(() => this.#step(run, latents, i));
    const { schedule, generators } = run;
    const timestepCond = this.#guidanceCondition(run.call);
    try {
      return await this.#traces.step({
        unet: this.unet,
        schedule,
        i,
        tensors: { ...run.tensors, ...(timestepCond && { timestepCond }) },
        noise: () => drawNoise(generators, latents.shape, latents.dtype, this.device),
        around: (tensors, ways) => this.#around({ ...run, tensors }, tensors.latents, i, ways),
        predict: (input, time, tensors) => this.#predict(input, time, tensors, tensors.timestepCond),
      });
    } finally {
      timestepCond?.dispose();
    }
  }

  /**
   * Records each kind of step once (the model on the doubled batch, guidance, the scheduler), and replays it from then on:
   * less memory and fewer kernels, the same picture up to rounding. Traces take memory until disableTracing() or
   * dispose(); under model offload, while the UNet is on the device. @throws ArgumentError under sequential offload
   */
  enableTracing(options: TraceOptions = {}): void {
    checkOptions('enableTracing', options, traceOptionNames);
    this.calls.requireNone('enableTracing');
    this.offload.refuseLayers('enableTracing');
    this.disableTracing();
    this.#traces = new StepTraces(options);
  }
  /** Frees the traces; steps run op by op again. */
  disableTracing(): void {
    this.#traces?.dispose();
    this.#traces = undefined;
  }
  /** The traces made so far, one a kind of step: what each saves, and its plan. */
  get tracedSteps(): readonly StepTrace[] {
    return this.#traces?.traces ?? [];
  }
  override enableSequentialCpuOffload(options: SequentialOffloadOptions = {}): void {
    if (this.#traces) throw replayNeedsAll('enableSequentialCpuOffload', 'call disableTracing() first');
    super.enableSequentialCpuOffload(options);
  }
  override dispose(): void {
    this.disableTracing();
    super.dispose();
  }

  #step(run: Run<K, T>, latents: Tensor, i: number): Tensor {
    const { call, schedule, generators, tensors } = run;
    return this.#around(run, latents, i, {
      predict: (input) =>
        this.#predict(input, schedule.timesteps[i]!, tensors, this.#guidanceCondition(call)),
      noise: () => drawNoise(generators, latents.shape, latents.dtype, this.device),
    });
  }

  #predict(input: Tensor, time: number, tensors: T, timestepCond: Tensor | undefined): Tensor {
    const options = { ...this.unetOptions(tensors), ...(timestepCond && { timestepCond }) };
    return this.unet.call(input, time, tensors.promptEmbeds, options).sample;
  }

  /** One step: model on the (doubled) batch, guidance, scheduler. */
  #around(
    run: Run<K, T>,
    latents: Tensor,
    i: number,
    ways: { predict: (input: Tensor) => Tensor; noise: () => Tensor },
  ): Tensor {
    const { call, schedule, tensors } = run;
    const doubled = call.guided ? concat([latents, latents], 0) : latents;
    const sample = ways.predict(this.modelInput(schedule.scaleModelInput(doubled, i), tensors));
    let noise = sample;
    if (call.guided) {
      const [uncond, text] = sample.chunk(2, 0) as [Tensor, Tensor];
      noise = guide(uncond, text, call.guidanceScale);
      if (call.guidanceRescale > 0) noise = rescaleGuidance(noise, text, call.guidanceRescale);
    }
    const { prevSample } = schedule.step(noise, i, latents, {
      eta: call.eta,
      noise: ways.noise,
      predOriginalSample: false,
    });
    return cast(this.afterStep(prevSample, run, i), this.computeDtype);
  }

  /** The guidance scale as [images, time_cond_proj_dim], for distilled models that read it (LCM). */
  #guidanceCondition(call: K): Tensor | undefined {
    const size = this.unet.config['time_cond_proj_dim'];
    if (typeof size !== 'number') return undefined;
    const row = guidanceEmbedding(size, call.guidanceScale);
    const rows = Array.from({ length: call.images }, () => [...row]).flat();
    const { device, computeDtype: dtype } = this;
    return tensor(rows, { shape: [call.images, size], device, dtype });
  }

  async #whoMadeNaN(latents: Tensor): Promise<DarkroomError> {
    const already = (await latents.data()).some(Number.isNaN);
    const { dtype } = already ? this.unet : this.vae;
    return new DarkroomError(
      `the picture has NaN, which ${already ? 'the denoising loop (unet)' : 'the decoder (vae)'} made ` +
        `(weights ${dtype}, activations ${this.computeDtype}); debug.checkFinite = true finds the module`,
    );
  }

  async #finish(
    latents: Tensor,
    options: O,
    seeds: readonly (number | bigint)[],
  ): Promise<StableDiffusionOutput> {
    if (options.outputType === 'latent') return { images: [], tensor: keep(latents.alias()), seeds };
    if (options.outputType === 'tensor') return { images: [], tensor: keep(this.pixels(latents)), seeds };
    // Sliced, each picture leaves the device before the next is decoded.
    const count = latents.shape[0]!;
    const parts = this.vae.slicing ? count : 1;
    const images: Image[] = [];
    for (let i = 0; i < parts; i++) {
      const [from, to] = [(i * count) / parts, ((i + 1) * count) / parts];
      const read = await readImages(scope(() => this.pixels(latents.slice(0, from, to))));
      if (!read) throw await this.#whoMadeNaN(latents);
      images.push(...read);
    }
    return { images, seeds };
  }
}

/** [n, 3, h, w] in [0, 1] → pictures, undefined when there is NaN in them; frees it. */
async function readImages(pixels: Tensor): Promise<Image[] | undefined> {
  try {
    const [n, c, h, w] = pixels.shape as [number, number, number, number];
    const data = (await pixels.data()) as Float32Array;
    if (data.some(Number.isNaN)) return undefined;
    const size = c * h * w;
    return Array.from({ length: n }, (_, i) =>
      Image.fromPlanes(data.subarray(i * size, (i + 1) * size), c, h, w),
    );
  } finally {
    pixels.dispose();
  }
}

/** The same call with empty texts: any text has the shape of any other, and none is warned about twice. */
function blank<K extends CheckedCall>(call: K): K {
  const empty = (texts: readonly string[] | undefined): readonly string[] | undefined => texts?.map(() => '');
  const texts = call.texts.map(({ prompts, negatives }) => ({
    prompts: empty(prompts),
    negatives: empty(negatives),
  }));
  return { ...call, texts };
}

function checkNames(names: readonly string[], tensors: object): void {
  const unknown = names.find((name) => !Object.hasOwn(tensors, name));
  if (unknown !== undefined) {
    throw new ArgumentError(
      `callbackOnStepEndTensors: must be of ${Object.keys(tensors).join(', ')}, got '${unknown}'`,
    );
  }
}

function adoptAll(memory: Scope, tensors: object): void {
  for (const t of Object.values(tensors) as Tensor[]) memory.adopt(t);
}
