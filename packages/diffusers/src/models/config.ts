// Reading model configs: typed values with diffusers' defaults, and one clear error for a bad one. Unknown keys are
// not read here and stay in the config, so that saving writes them back.

import { FormatError } from '@darkroom/core';

export type ConfigRecord = Readonly<Record<string, unknown>>;

export class ConfigReader {
  readonly #config: ConfigRecord;
  readonly #source: string;

  /** `source` names the file in messages. */
  constructor(config: ConfigRecord, source: string) {
    this.#config = config;
    this.#source = source;
  }

  fail(key: string, rule: string): never {
    throw new FormatError(`${this.#source}: '${key}' ${rule}, got ${JSON.stringify(this.#config[key])}`);
  }

  /** The value, or undefined when it is missing or null. */
  raw(key: string): unknown {
    return this.#config[key] ?? undefined;
  }

  integer(key: string, fallback?: number): number {
    const value = this.raw(key) ?? fallback;
    if (!Number.isInteger(value) || (value as number) < 0) this.fail(key, 'must be an integer >= 0');
    return value as number;
  }
  optionalInteger(key: string): number | undefined {
    return this.raw(key) === undefined ? undefined : this.integer(key);
  }
  number(key: string, fallback: number): number {
    const value = this.raw(key) ?? fallback;
    if (typeof value !== 'number' || !Number.isFinite(value)) this.fail(key, 'must be a number');
    return value;
  }
  boolean(key: string, fallback: boolean): boolean {
    const value = this.raw(key) ?? fallback;
    if (typeof value !== 'boolean') this.fail(key, 'must be true or false');
    return value;
  }
  choice<T extends string>(key: string, allowed: readonly T[], fallback?: T): T {
    const value = this.raw(key) ?? fallback;
    if (!allowed.includes(value as T)) this.fail(key, `must be one of ${allowed.join(', ')}`);
    return value as T;
  }
  optionalChoice<T extends string>(key: string, allowed: readonly T[]): T | undefined {
    return this.raw(key) === undefined ? undefined : this.choice(key, allowed);
  }
  choices<T extends string>(key: string, allowed: readonly T[], length: number): readonly T[] {
    const value = this.raw(key);
    if (!Array.isArray(value) || value.length !== length) this.fail(key, `must be a list of ${length}`);
    for (const v of value)
      if (!allowed.includes(v as T)) this.fail(key, `must hold only ${allowed.join(', ')}`);
    return value as T[];
  }
  integers(key: string, fallback?: readonly number[]): readonly number[] {
    const value = this.raw(key) ?? fallback;
    const ok = Array.isArray(value) && value.length > 0 && value.every((v) => Number.isInteger(v) && v > 0);
    if (!ok) this.fail(key, 'must be a list of integers > 0');
    return value as number[];
  }
  /** A number for all blocks, or a list with one for each. */
  perBlock(key: string, blocks: number, fallback: number): readonly number[] {
    const value = this.raw(key) ?? fallback;
    const list = Array.isArray(value) ? (value as unknown[]) : Array.from({ length: blocks }, () => value);
    if (list.length !== blocks || !list.every((v) => Number.isInteger(v) && (v as number) > 0)) {
      this.fail(key, `must be an integer > 0, or a list of ${blocks}`);
    }
    return list as number[];
  }
  booleansPerBlock(key: string, blocks: number): readonly boolean[] {
    const value = this.raw(key) ?? false;
    const list = Array.isArray(value) ? (value as unknown[]) : Array.from({ length: blocks }, () => value);
    if (list.length !== blocks || !list.every((v) => typeof v === 'boolean'))
      this.fail(key, `must be true, false, or a list of ${blocks}`);
    return list as boolean[];
  }
  /** Refuses options of other model families instead of ignoring them. */
  unsupported(key: string, ...harmless: readonly unknown[]): void {
    const value = this.raw(key);
    if (value !== undefined && !harmless.includes(value)) this.fail(key, 'is not supported by this version');
  }
}
