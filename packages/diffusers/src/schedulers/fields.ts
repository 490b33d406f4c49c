// The kinds of values that scheduler configs hold: each key has a default and a check with bounds, so that no file can
// make a table of a billion entries or a noise level that is not finite.

import { describeJson } from '../loading/json.ts';

/** As in scheduler_config.json. Keys that the class does not know stay in it. */
export type SchedulerConfig = Readonly<Record<string, unknown>>;

/** One key: its default, and how a value is checked. */
export interface Field<T> {
  readonly fallback: T;
  /** The value as the class uses it, or undefined when it is not allowed. `given` is the whole config. */
  readonly parse: (value: unknown, given: SchedulerConfig) => T | undefined;
  /** The allowed values, for messages. */
  readonly allowed: string | ((value: unknown) => string);
  /** True: a key of another class, read if it is given and saved only then. */
  readonly borrowed?: boolean;
}
export type Fields = Readonly<Record<string, Field<unknown>>>;
export type Values<F extends Fields> = { readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never };

/** Training steps, and steps of a run, at most: more than any model has. */
export const mostTimesteps = 100_000;
/** Limits and scales of pixels and latents stay far below this; float32 holds its square. */
const large = 1e6;

export function flag(fallback: boolean): Field<boolean> {
  // null stands for false in some published configs.
  return {
    fallback,
    allowed: 'true or false',
    parse: (v) => (typeof v === 'boolean' ? v : v === null ? false : undefined),
  };
}

/** NaN is in no range, and infinities only where a bound is one. */
const inRange = (v: unknown, min: number, max: number): v is number =>
  typeof v === 'number' && v >= min && v <= max;

export function number(fallback: number, min: number = 0, max: number = large): Field<number> {
  const parse = (v: unknown): number | undefined => (inRange(v, min, max) ? v : undefined);
  return { fallback, allowed: `a number from ${min} to ${max}`, parse };
}

export function optionalNumber(min: number, max: number): Field<number | null> {
  return {
    fallback: null,
    allowed: `a number from ${min} to ${max}, or null`,
    parse: (v) => (v === null || inRange(v, min, max) ? v : undefined),
  };
}

export function integer(fallback: number, min: number = 0, max: number = mostTimesteps): Field<number> {
  return {
    fallback,
    allowed: (v) => `an integer ${typeof v === 'number' && v > max ? `<= ${max}` : `>= ${min}`}`,
    parse: (v) => (Number.isInteger(v) && inRange(v, min, max) ? v : undefined),
  };
}

const list = (words: readonly string[]): string => words.map((w) => `'${w}'`).join(', ');

/** One of some words. `aliases` maps words of other classes to ours. */
export function choice<T extends string>(
  fallback: T,
  words: readonly T[],
  aliases: Readonly<Record<string, T>> = {},
): Field<T> {
  return {
    fallback,
    allowed: list(words),
    parse: (v) => {
      if (typeof v === 'string' && Object.hasOwn(aliases, v)) return aliases[v]!;
      return words.find((w) => w === v);
    },
  };
}

export function optionalChoice<T extends string>(fallback: T | null, words: readonly T[]): Field<T | null> {
  return {
    fallback,
    allowed: `${list(words)} or null`,
    parse: (v) => (v === null ? null : words.find((w) => w === v)),
  };
}

/** A list of numbers in a range, one a training step. */
export function optionalNumbers(min: number, max: number): Field<readonly number[] | null> {
  const ok = (v: unknown): v is number[] =>
    Array.isArray(v) && v.length > 0 && v.length <= mostTimesteps && v.every((x) => inRange(x, min, max));
  return {
    fallback: null,
    allowed: `a list of 1 to ${mostTimesteps} numbers from ${min} to ${max}, or null`,
    parse: (v) => (v === null || ok(v) ? v : undefined),
  };
}

/** A list of step indices. */
export function integers(): Field<readonly number[]> {
  const ok = (v: unknown): v is number[] =>
    Array.isArray(v) && v.length <= mostTimesteps && v.every((x) => Number.isInteger(x));
  return {
    fallback: [],
    allowed: `a list of at most ${mostTimesteps} integers`,
    parse: (v) => (ok(v) ? v : undefined),
  };
}

/** A key of files whose feature is not supported: must be null. */
export function mustBeNull(): Field<null> {
  return {
    fallback: null,
    allowed: 'null (not supported otherwise)',
    parse: (v) => (v === null ? null : undefined),
  };
}

/** A key of files whose feature is not supported: must be false. */
export function mustBeFalse(): Field<false> {
  return {
    fallback: false,
    allowed: 'false (not supported otherwise)',
    parse: (v) => (v === false || v === null ? false : undefined),
  };
}

/** `field` as a key of another class, which is saved only if it is given. */
export function borrowed<T>(field: Field<T>): Field<T> {
  return { ...field, borrowed: true };
}

/** Characters of a quoted value at most: a file may hold a string of megabytes. */
const quoted = 100;

/** A value for messages, shortened. */
export function describeValue(value: unknown): string {
  if (typeof value !== 'string') return describeJson(value);
  return value.length > quoted ? `'${value.slice(0, quoted)}…' (${value.length} characters)` : `'${value}'`;
}
