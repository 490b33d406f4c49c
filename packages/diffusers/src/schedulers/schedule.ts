// Base of all Schedules: index checks, the scope of a step, history tensors. No algorithms.

import { ArgumentError, keep, scope } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { combine } from './combine.ts';
import { requireSameShape } from './prediction.ts';
import type { Schedule, StepOptions, StepResult } from './scheduler.ts';

/** True if a step shall return predOriginalSample. */
export function wantsOriginal(options: StepOptions): boolean {
  return options.predOriginalSample ?? true;
}

export abstract class BaseSchedule implements Schedule {
  readonly className: string;
  readonly timesteps: readonly number[];
  readonly initNoiseSigma: number = 1;
  readonly order: number = 1;
  /** True if steps depend on earlier ones: their indices must then be consecutive. */
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

  /** Divisor of the model's input at step i. */
  protected inputDivisor(_i: number): number {
    return 1;
  }

  protected checkOutput(output: Tensor, sample: Tensor): void {
    requireSameShape(this.className, output, sample);
  }

  /** Computes the step, inside a scope that frees all tensors but the returned and the remembered ones. */
  protected abstract advance(output: Tensor, i: number, sample: Tensor, options: StepOptions): StepResult;

  /** Draws the step's noise from options.noise. @throws ArgumentError if it is missing. */
  protected drawNoise(options: StepOptions): Tensor {
    if (options.noise) return options.noise();
    throw new ArgumentError(`${this.className}: this step adds noise; pass options.noise`);
  }

  /** An own handle of `tensor`, which lives until forget() or dispose(). */
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
