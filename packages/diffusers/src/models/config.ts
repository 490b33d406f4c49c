// Reads model configs: typed values within a range, with diffusers' defaults, and one error for each bad value.
// Unknown keys are ignored and stay in the config: saving writes them back.
// null is a value, as in Python: false for a boolean, "none" for an optional field, an error for all others.

import { FormatError, shortJson } from '@darkroom/core';

/** A component's config.json as it was read. */
export type ConfigRecord = Readonly<Record<string, unknown>>;
/** The least and the greatest value that a key may have. */
export type Range = readonly [min: number, max: number];

const isWithin = (value: unknown, [min, max]: Range): value is number =>
  typeof value === 'number' && value >= min && value <= max;
const isInteger = (value: unknown, range: Range): value is number =>
  Number.isInteger(value) && isWithin(value, range);
const words = ([min, max]: Range): string => `from ${min} to ${max}`;

/** Reads a config's keys as values of a type, within a range. Every method throws FormatError naming file and key. */
export class ConfigReader {
  readonly #config: ConfigRecord;
  readonly #source: string;

  /** `source` names the file in messages. */
  constructor(config: ConfigRecord, source: string) {
    this.#config = config;
    this.#source = source;
  }

  /** @throws FormatError with the rule of a key and the key's value. */
  fail(key: string, rule: string): never {
    throw new FormatError(`${this.#source}: '${key}' ${rule}, got ${shortJson(this.#own(key))}`);
  }

  /** True if the config has the key with a value other than null. */
  has(key: string): boolean {
    return (this.#own(key) ?? undefined) !== undefined;
  }

  /** The unchecked value, which may be null; `fallback` if the config has no such key. */
  raw(key: string, fallback?: unknown): unknown {
    const value = this.#own(key);
    return value === undefined ? fallback : value;
  }

  /** An integer within the range. */
  integer(key: string, range: Range, fallback?: number): number {
    const value = this.raw(key, fallback);
    return isInteger(value, range) ? value : this.fail(key, `must be an integer ${words(range)}`);
  }
  /** An integer within the range; undefined for null or a missing key. */
  optionalInteger(key: string, range: Range): number | undefined {
    return this.has(key) ? this.integer(key, range) : undefined;
  }
  /** An integer, or the first of a list of them. */
  firstInteger(key: string, range: Range, fallback?: number): number {
    const value = this.raw(key, fallback);
    const first: unknown = Array.isArray(value) ? value[0] : value;
    return isInteger(first, range)
      ? first
      : this.fail(key, `must be an integer ${words(range)}, or a list that begins with one`);
  }
  /** A number within the range. */
  number(key: string, range: Range, fallback?: number): number {
    const value = this.raw(key, fallback);
    return isWithin(value, range) ? value : this.fail(key, `must be a number ${words(range)}`);
  }
  /** true or false; null counts as false. */
  boolean(key: string, fallback: boolean): boolean {
    const value = this.raw(key, fallback) ?? false;
    return typeof value === 'boolean' ? value : this.fail(key, 'must be true or false');
  }
  /** One of the strings allowed. */
  choice<T extends string>(key: string, allowed: readonly T[], fallback?: T): T {
    const value = this.raw(key, fallback);
    if (!allowed.includes(value as T)) this.fail(key, `must be one of ${allowed.join(', ')}`);
    return value as T;
  }
  /** One of the strings allowed; undefined for null or a missing key. */
  optionalChoice<T extends string>(key: string, allowed: readonly T[]): T | undefined {
    return this.has(key) ? this.choice(key, allowed) : undefined;
  }
  /** A list of `length` strings, each of those allowed. */
  choices<T extends string>(
    key: string,
    allowed: readonly T[],
    length: number,
    fallback: readonly T[],
  ): readonly T[] {
    const value = this.raw(key, fallback);
    if (!Array.isArray(value) || value.length !== length) this.fail(key, `must be a list of ${length}`);
    for (const v of value)
      if (!allowed.includes(v as T)) this.fail(key, `must hold only ${allowed.join(', ')}`);
    return value as T[];
  }
  /** A list of 1 to `maxLength` integers within the range. */
  integers(key: string, range: Range, maxLength: number, fallback?: readonly number[]): readonly number[] {
    const value = this.raw(key, fallback);
    const fits = Array.isArray(value) && value.length >= 1 && value.length <= maxLength;
    if (!fits || !value.every((v) => isInteger(v, range)))
      this.fail(key, `must be a list of 1 to ${maxLength} integers ${words(range)}`);
    return value as number[];
  }
  /** A list of `length` finite numbers; undefined for null or a missing key. */
  optionalNumbers(key: string, length: number): readonly number[] | undefined {
    if (!this.has(key)) return undefined;
    const value = this.raw(key);
    if (!Array.isArray(value) || value.length !== length || !value.every(Number.isFinite))
      this.fail(key, `must be a list of ${length} numbers`);
    return value as number[];
  }
  /** A number for all blocks, or a list with one for each. */
  perBlock(key: string, range: Range, blocks: number, fallback: number): readonly number[] {
    const value = this.raw(key, fallback);
    const list = Array.isArray(value) ? (value as unknown[]) : Array<unknown>(blocks).fill(value);
    if (list.length !== blocks || !list.every((v) => isInteger(v, range)))
      this.fail(key, `must be an integer ${words(range)}, or a list of ${blocks}`);
    return list as number[];
  }
  /** [height, width], from a list or one number for both; undefined for null or a missing key. */
  optionalSize(key: string, range: Range): readonly number[] | undefined {
    return this.has(key) ? this.perBlock(key, range, 2, range[0]) : undefined;
  }
  /** A switch for all blocks, or a list with one for each. */
  booleansPerBlock(key: string, blocks: number): readonly boolean[] {
    const value = this.raw(key, false);
    const list = Array.isArray(value) ? (value as unknown[]) : Array<unknown>(blocks).fill(value);
    if (list.length !== blocks || !list.every((v) => typeof v === 'boolean'))
      this.fail(key, `must be true, false, or a list of ${blocks}`);
    return list as boolean[];
  }
  /**
   * @throws FormatError unless the key is missing, null or one of the `harmless` values, which do not change results.
   */
  unsupported(key: string, ...harmless: readonly unknown[]): void {
    if (this.has(key) && !harmless.includes(this.raw(key)))
      this.fail(key, 'is not supported by this version');
  }

  #own(key: string): unknown {
    return Object.hasOwn(this.#config, key) ? this.#config[key] : undefined;
  }
}
