// The call that all pipelines share: check, embed, denoise in latent space, decode. The parts that depend on the family
// and the task are the values of a Recipe (recipe.ts); the state of one call is its Run (run.ts).

import { ArgumentError, checkOptions, debug, scope, traceOptionNames } from '@darkroom/core';
import type { Tensor, TraceOptions } from '@darkroom/core';
import { replayNeedsAll } from '../offload/policy.ts';
import type { SequentialOffloadOptions } from '../offload/sequential.ts';
import { progressBar } from '../progress/progress.ts';
import { checkChanged } from './callback-tensors.ts';
import { requireMemory } from './check-memory.ts';
import { CompiledCalls } from './compile-call.ts';
import { drawnWith } from './drawn-with.ts';
import { finish } from './finish.ts';
import { PipelineWithMemorySwitches } from './memory-switches.ts';
import type { AnyCallOptions, Interruptible, StableDiffusionOutput } from './options.ts';
import { PartTraces, textPartName } from './part-traces.ts';
import type { NamedTensors, PixelSize, Recipe } from './recipe.ts';
import { Run } from './run.ts';
import type { RunTensors } from './run.ts';
import { step } from './step.ts';
import { StepTraces } from './step-traces.ts';
import type { StepTrace } from './step-traces.ts';

/** The call signature of a pipeline with options O; `Required`: the options must be given. */
export interface Draws<O, Required extends boolean = false> {
  /** Draws pictures. `prompt` is undefined where embeddings are given. */
  (...args: DrawArguments<O, Required>): Promise<StableDiffusionOutput>;
}
/** Arguments of a call with options O, which may be left out unless `Required`. */
export type DrawArguments<O, Required extends boolean = false> = Required extends true
  ? [prompt: Prompt, options: O]
  : [prompt?: Prompt, options?: O];
type Prompt = string | readonly string[] | undefined;

/**
 * Base of all pipelines that denoise latents. A subclass gives its components' slots and, in recipe(), the conditioner,
 * the start, the denoiser and the codec of a call. Calls may run at the same time.
 */
export abstract class LatentDiffusionPipeline<C extends object>
  extends PipelineWithMemorySwitches<C>
  implements Interruptible
{
  #traces: StepTraces | undefined;
  #parts: PartTraces | undefined;
  readonly #compiled = new CompiledCalls();

  /** The model's training size in pixels: the default of a call. */
  abstract get defaultSize(): PixelSize;
  /** Pixels that a picture's width and height must be a multiple of. */
  abstract get sizeMultiple(): number;

  /** Checks the arguments of a call and returns its recipe. Computes nothing. @throws ArgumentError */
  protected abstract recipe(prompt: string | readonly string[] | undefined, options: AnyCallOptions): Recipe;

  protected override invoke(
    prompt?: string | readonly string[],
    options: AnyCallOptions = {},
  ): Promise<StableDiffusionOutput> {
    return this.generate(prompt, options);
  }

  /**
   * Draws pictures; `pipe(prompt, options)` is the same. @throws ArgumentError for bad arguments, OutOfMemoryError if
   * one tensor exceeds the device, DarkroomError if pixels are NaN, and the signal's reason when it aborts.
   */
  async generate(
    prompt?: string | readonly string[],
    options: AnyCallOptions = {},
  ): Promise<StableDiffusionOutput> {
    const recipe = this.recipe(prompt, options);
    const decodes = options.outputType !== 'latent';
    const { device, computeDtype: dtype, scheduler } = this;
    requireMemory(recipe, { device, dtype, decodes });
    options.signal?.throwIfAborted();
    if (this.#traces) this.offload.refuseLayers('enableTracing');
    const offload = this.offload.begin();
    const run = this.calls.start(new Run(recipe, { device, dtype, scheduler }, options));
    try {
      await offload.ready;
      run.begin(options);
      const inputs = run.own(await recipe.inputs());
      await this.#compiled.compile(run, inputs, decodes, this.progress);
      const parts = debug.checkFinite ? undefined : this.#parts;
      for (const n of recipe.call.texts.keys()) await parts?.prepareAll(textPartName(n));
      run.startFrom(run.within(() => scope(() => run.start(inputs, parts?.encodeTexts))));
      await this.#denoise(run, options);
      return await finish(run, options.outputType, drawnWith(run, this.modelName), parts);
    } finally {
      offload.finish();
      run.dispose();
      this.calls.end(run);
    }
  }

  /** Runs the steps, leaving the final latents in `run`. */
  async #denoise(run: Run, options: AnyCallOptions): Promise<void> {
    const { begin, end } = run.window;
    checkNames(options.callbackOnStepEndTensors ?? [], run.tensors);
    const bar = await progressBar(end - begin, this.progress);
    // One step runs while the next is put together, and no more: memory stays bounded, and an abort is seen soon.
    let running: Promise<void> | undefined;
    try {
      for (let i = begin; i < end; i++) {
        run.signal?.throwIfAborted();
        run.replace({ latents: await this.#step(run, i) });
        if (options.callbackOnStepEnd) run.replace(await this.#callback(run, i, options));
        bar.update(i + 1 - begin, `peak ${(run.device.memory().peak / 2 ** 20).toFixed(0)} MiB`);
        await running;
        running = run.device.idle();
        running.catch(() => {}); // its error is thrown where it is awaited
        // Lets an abort signal, a timer or terminal input be handled between steps.
        await macrotask();
        if (run.interrupt) break;
      }
      // The last step may still be running: what comes next is queued behind it, and is waited for.
    } finally {
      bar.stop();
    }
  }

  /** Latents after step i. */
  async #step(run: Run, i: number): Promise<Tensor> {
    const traced = this.#traces && !debug.checkFinite;
    run.bringDenoiser();
    return traced ? this.#traces!.step(run, i) : run.within(() => scope(() => step(run, run.tensors, i)));
  }

  /** Calls callbackOnStepEnd; the tensors that it replaces. */
  async #callback(run: Run, i: number, options: AnyCallOptions): Promise<NamedTensors> {
    const { tensors, window, schedule } = run;
    const shown: Record<string, Tensor> = { latents: tensors.latents };
    for (const name of (options.callbackOnStepEndTensors ?? []) as string[]) shown[name] = tensors[name]!;
    const changed = await this.calls.callback(run, this as LatentDiffusionPipeline<C>, (pipe) =>
      options.callbackOnStepEnd!(pipe, i - window.begin, schedule.timesteps[i]!, shown as RunTensors),
    );
    return checkChanged(changed, tensors) as NamedTensors;
  }

  /**
   * Records each kind of step once (the model on the doubled batch, guidance, the scheduler), then replays it: less
   * memory and fewer kernels, the same picture up to rounding. From the second call on, text encoders and the decoder
   * are replayed too, except under offload, and the decoder under tiling. Traces hold memory until disableTracing() or
   * dispose(); under model offload, only while the denoiser is on the device.
   * @throws ArgumentError under sequential offload, while a call is running, and for unknown options
   */
  enableTracing(options: TraceOptions = {}): void {
    checkOptions('enableTracing', options, traceOptionNames);
    this.calls.requireNone('enableTracing');
    this.offload.refuseLayers('enableTracing');
    this.disableTracing();
    this.#traces = new StepTraces(options);
    this.#parts = new PartTraces(options);
  }
  /** Frees the traces; all runs op by op again. */
  disableTracing(): void {
    this.#traces?.dispose();
    this.#parts?.dispose();
    this.#traces = this.#parts = undefined;
  }
  /** The traces recorded so far, one for each kind of step, with their plans and summaries. */
  get tracedSteps(): readonly StepTrace[] {
    return this.#traces?.traces ?? [];
  }
  /** As in every pipeline. @throws ArgumentError also while tracing is enabled */
  override enableSequentialCpuOffload(options: SequentialOffloadOptions = {}): void {
    if (this.#traces) throw replayNeedsAll('enableSequentialCpuOffload', 'call disableTracing() first');
    super.enableSequentialCpuOffload(options);
  }
  /** Frees the traces and the weights of every component. */
  override dispose(): void {
    this.disableTracing();
    super.dispose();
  }
}

/** Resolves in a later turn of the event loop, as soon as the platform can. */
function macrotask(): Promise<void> {
  return new Promise((resolve) =>
    typeof setImmediate === 'function' ? setImmediate(resolve) : setTimeout(resolve, 0),
  );
}

function checkNames(names: readonly string[], tensors: object): void {
  const unknown = names.find((name) => !Object.hasOwn(tensors, name));
  if (unknown !== undefined) {
    throw new ArgumentError(
      `callbackOnStepEndTensors: must be of ${Object.keys(tensors).join(', ')}, got '${unknown}'`,
    );
  }
}
