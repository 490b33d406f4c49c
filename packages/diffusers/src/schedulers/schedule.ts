// The parts that Schedules share: index checks, memory of a step, history tensors. No algorithm lives here.

import { ArgumentError, keep, scope } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { combine } from './combine.ts';
import { requireSameShape } from './prediction.ts';
import type { Schedule, StepOptions, StepResult } from './scheduler.ts';

/** Whether a step also returns predOriginalSample. */
export function wantsOriginal(options: StepOptions): boolean {
  return options.predOriginalSample ?? true;
}

export abstract class BaseSchedule implements Schedule {
  readonly className: string;
  readonly timesteps: readonly number[];
  readonly initNoiseSigma: number = 1;
  readonly order: number = 1;
  /** Whether steps depend on those before: then their indices must follow each other. */
  protected readonly sequential: boolean = false;
  #begin: number | undefined = undefined;
  #next: number | undefined = undefined;
  readonly #kept = new Set<Tensor>();

  constructor(className: string, timesteps: readonly number[]) {
    this.className = className;
    this.timesteps = timesteps;
  }

  get beginIndex(): number | undefined {
    return this.#begin;
  }

  setBeginIndex(i: number): void {
    this.#begin = this.#check(i);
  }

  scaleModelInput(sample: Tensor, i: number): Tensor {
    const divisor = this.inputDivisor(this.#check(i));
    return divisor === 1 ? sample : combine([[sample, 1 / divisor]]);
  }

  step(modelOutput: Tensor, i: number, sample: Tensor, options: StepOptions = {}): StepResult {
    this.#check(i);
    this.checkOutput(modelOutput, sample);
    if (this.sequential && this.#next !== undefined && i !== this.#next) {
      throw new ArgumentError(
        `${this.className}: steps must follow each other: index ${this.#next} is due, got ${i}`,
      );
    }
    this.#next = i + 1;
    return scope(() => this.advance(modelOutput, i, sample, options));
  }

  /** What the sample is divided by before the model sees it. */
  protected inputDivisor(_i: number): number {
    return 1;
  }

  protected checkOutput(output: Tensor, sample: Tensor): void {
    requireSameShape(this.className, output, sample);
  }

  /** The step itself, inside a scope: what is neither returned nor remembered is freed. */
  protected abstract advance(output: Tensor, i: number, sample: Tensor, options: StepOptions): StepResult;

  /** Noise from the caller; throws when the step needs it and there is none. */
  protected drawNoise(options: StepOptions): Tensor {
    if (options.noise) return options.noise();
    throw new ArgumentError(`${this.className}: this step adds noise; pass options.noise`);
  }

  /** A handle that lives until forget() or dispose(), whatever happens to the caller's. */
  protected remember(tensor: Tensor): Tensor {
    const own = keep(tensor.alias());
    this.#kept.add(own);
    return own;
  }

  get remembered(): readonly Tensor[] {
    return [...this.#kept];
  }

  protected forget(tensor: Tensor | undefined): void {
    if (tensor && this.#kept.delete(tensor)) tensor.dispose();
  }

  /** Appends to a history of at most `limit` entries, the oldest first. */
  protected push(history: Tensor[], tensor: Tensor, limit: number): void {
    history.push(this.remember(tensor));
    while (history.length > limit) this.forget(history.shift());
  }

  dispose(): void {
    for (const tensor of this.#kept) tensor.dispose();
    this.#kept.clear();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #check(i: number): number {
    const last = this.timesteps.length - 1;
    if (!Number.isInteger(i) || i < 0 || i > last) {
      throw new ArgumentError(`${this.className}: step index must be an integer from 0 to ${last}, got ${i}`);
    }
    return i;
  }
}
