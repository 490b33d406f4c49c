// The state of one running call. A pipeline may have several at once.

import { CallState, Module, Scope } from '@darkroom/core';
import type { Device, DType, Tensor } from '@darkroom/core';
import type { Generator } from '../random/generator.ts';
import type { Schedule, Scheduler } from '../schedulers/scheduler.ts';
import type { CheckedCall } from './check-call.ts';
import type { EncodeTexts } from './conditioners/encode-texts.ts';
import { generatorsFor } from './noise.ts';
import type { CallOptions } from './options.ts';
import type { NamedTensors, Recipe, StartOfRun, Window } from './recipe.ts';

/** Tensors of the loop, by the names that callbacks see. */
export type RunTensors = Record<string, Tensor> & { latents: Tensor };

/** The pipeline's settings, copied when a call starts. */
export interface RunSettings {
  readonly device: Device;
  /** dtype of latents and embeddings. */
  readonly dtype: DType;
  readonly scheduler: Scheduler;
}

/** The values that begin() makes. */
interface Begun {
  readonly schedule: Schedule;
  readonly window: Window;
  readonly generators: readonly Generator[];
  readonly seeds: readonly (number | bigint)[];
}

export class Run implements StartOfRun {
  readonly recipe: Recipe;
  readonly device: Device;
  readonly dtype: DType;
  readonly scheduler: Scheduler;
  readonly signal: AbortSignal | undefined;
  /** True: the call ends after its current step; the picture so far is decoded. */
  interrupt = false;
  #begun: Begun | undefined;
  #tensors: RunTensors | undefined;
  readonly #memory = new Scope();
  /** State that hooks keep for this call. */
  readonly #state = new CallState();

  constructor(recipe: Recipe, settings: RunSettings, options: Pick<CallOptions, 'signal'> = {}) {
    this.recipe = recipe;
    ({ device: this.device, dtype: this.dtype, scheduler: this.scheduler } = settings);
    this.signal = options.signal;
  }

  /** Makes the schedule and the generators. @throws ArgumentError for bad seeds and step counts. */
  begin(options: Parameters<typeof generatorsFor>[0]): this {
    const { call, start } = this.recipe;
    const schedule = this.scheduler.schedule(call.schedule);
    try {
      const window = start.window?.(schedule, call) ?? { begin: 0, end: schedule.timesteps.length };
      this.#begun = { schedule, window, ...generatorsFor(options, call.images) };
    } catch (error) {
      schedule.dispose();
      throw error;
    }
    return this;
  }

  get call(): CheckedCall {
    return this.recipe.call;
  }
  get schedule(): Schedule {
    return this.#begun!.schedule;
  }
  get window(): Window {
    return this.#begun!.window;
  }
  get generators(): readonly Generator[] {
    return this.#begun!.generators;
  }
  get seeds(): readonly (number | bigint)[] {
    return this.#begun!.seeds;
  }

  /** The loop's current tensors: steps and callbacks replace them. */
  get tensors(): RunTensors {
    return this.#tensors!;
  }
  get latents(): Tensor {
    return this.tensors.latents;
  }

  /**
   * Embeds the prompt and makes the first latents; `inputs` may be abstract. `encode`: as in Conditioner. The caller
   * owns the result.
   */
  start(inputs: NamedTensors, encode?: EncodeTexts): RunTensors {
    const { conditioner, start } = this.recipe;
    return { ...conditioner.embed(this.call, inputs, encode), ...start.begin(this, inputs) };
  }
  /** Sets the loop's tensors; the run takes them over. */
  startFrom(tensors: RunTensors): void {
    this.#tensors = this.own(tensors);
  }

  /** Runs a synchronous part of the call: hooks see this call's state. */
  within<R>(body: () => R): R {
    return this.#state.run(body);
  }
  /** Asks offload to load all modules of the denoiser together; otherwise each module's call would evict the others. */
  bringDenoiser(): void {
    const modules = this.recipe.denoiser.modules.filter((m) => m instanceof Module);
    if (modules.length > 1) for (const module of modules) module.bringWeights(modules);
  }

  /** Takes tensors over: dispose() frees them. */
  own<T extends NamedTensors>(tensors: T): T {
    for (const t of Object.values(tensors)) this.#memory.adopt(t);
    return tensors;
  }

  /** Replaces tensors of the loop by name; frees the old ones. */
  replace(changed: NamedTensors): void {
    for (const [name, next] of Object.entries(changed)) {
      const old = this.tensors[name]!;
      if (next === old) continue;
      old.dispose();
      this.#memory.adopt(next);
      this.tensors[name] = next;
    }
  }

  /** Frees the schedule, the hooks' state and the tensors that the run owns. */
  dispose(): void {
    this.#begun?.schedule.dispose();
    this.#state.dispose();
    this.#memory.dispose();
  }
}
