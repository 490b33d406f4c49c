// Scheduler configs: snake_case keys with diffusers' defaults, checked one by one.
// A config remembers which values were defaults, so that another class built from it applies its own defaults.
// Reference: scheduler_config.json and diffusers' ConfigMixin.from_config.

import { ArgumentError, log } from '@darkroom/core';
import { describeJson } from '../loading/json.ts';

/** As in scheduler_config.json. Keys that the class does not know stay in it. */
export type SchedulerConfig = Readonly<Record<string, unknown>>;

/** One key: its default, and how a value is checked. */
export interface Field<T> {
  readonly fallback: T;
  readonly parse: (value: unknown) => T | undefined;
  /** What is allowed, for messages. */
  readonly allowed: string;
}
export type Fields = Readonly<Record<string, Field<unknown>>>;
export type Values<F extends Fields> = { readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never };

export function flag(fallback: boolean): Field<boolean> {
  // null stands for false in some published configs.
  return {
    fallback,
    allowed: 'true or false',
    parse: (v) => (typeof v === 'boolean' ? v : v === null ? false : undefined),
  };
}

export function number(fallback: number, min: number = -Infinity, max: number = Infinity): Field<number> {
  const allowed = min === -Infinity && max === Infinity ? 'a number' : `a number from ${min} to ${max}`;
  return { fallback, allowed, parse: (v) => (typeof v === 'number' && v >= min && v <= max ? v : undefined) };
}

export function optionalNumber(): Field<number | null> {
  return {
    fallback: null,
    allowed: 'a number or null',
    parse: (v) => (v === null || typeof v === 'number' ? v : undefined),
  };
}

export function integer(fallback: number, min = 0): Field<number> {
  return {
    fallback,
    allowed: `an integer >= ${min}`,
    parse: (v) => (typeof v === 'number' && Number.isInteger(v) && v >= min ? v : undefined),
  };
}

/** One of some words. `aliases` maps words of other classes to ours. */
export function choice<T extends string>(
  fallback: T,
  words: readonly T[],
  aliases: Readonly<Record<string, T>> = {},
): Field<T> {
  return {
    fallback,
    allowed: words.map((w) => `'${w}'`).join(', '),
    parse: (v) => {
      if (typeof v === 'string' && Object.hasOwn(aliases, v)) return aliases[v]!;
      return words.find((w) => w === v);
    },
  };
}

export function optionalChoice<T extends string>(words: readonly T[]): Field<T | null> {
  const allowed = `${words.map((w) => `'${w}'`).join(', ')} or null`;
  return { fallback: null, allowed, parse: (v) => (v === null ? null : words.find((w) => w === v)) };
}

export function optionalNumbers(): Field<readonly number[] | null> {
  const ok = (v: unknown): v is number[] =>
    Array.isArray(v) && v.length > 0 && v.every((x) => typeof x === 'number');
  return {
    fallback: null,
    allowed: 'a list of numbers or null',
    parse: (v) => (v === null || ok(v) ? v : undefined),
  };
}

export function integers(): Field<readonly number[]> {
  const ok = (v: unknown): v is number[] => Array.isArray(v) && v.every((x) => Number.isInteger(x));
  return { fallback: [], allowed: 'a list of integers', parse: (v) => (ok(v) ? v : undefined) };
}

/** A key that exists in files but whose feature we do not have. */
export function mustBeNull(): Field<null> {
  return {
    fallback: null,
    allowed: 'null (not supported otherwise)',
    parse: (v) => (v === null ? null : undefined),
  };
}

/** A switch that exists in files but whose feature we do not have. */
export function mustBeFalse(): Field<false> {
  return {
    fallback: false,
    allowed: 'false (not supported otherwise)',
    parse: (v) => (v === false || v === null ? false : undefined),
  };
}

/** Keys of all classes: those a class does not use itself it carries along without a warning. */
// prettier-ignore
const known = new Set([
  'algorithm_type', 'beta_end', 'beta_schedule', 'beta_start', 'clip_sample', 'clip_sample_range', 'disable_corrector',
  'dynamic_thresholding_ratio', 'euler_at_final', 'final_sigmas_type', 'flow_shift', 'interpolation_type',
  'lambda_min_clipped', 'lower_order_final', 'num_train_timesteps', 'original_inference_steps', 'predict_x0',
  'prediction_type', 'rescale_betas_zero_snr', 'sample_max_value', 'set_alpha_to_one', 'sigma_max', 'sigma_min',
  'skip_prk_steps', 'solver_order', 'solver_p', 'solver_type', 'steps_offset', 'thresholding', 'time_shift_type',
  'timestep_scaling', 'timestep_spacing', 'timestep_type', 'trained_betas', 'use_beta_sigmas', 'use_dynamic_shifting',
  'use_exponential_sigmas', 'use_flow_sigmas', 'use_karras_sigmas', 'use_lu_lambdas', 'variance_type',
]);

/** The values that were defaults, under a symbol: it survives `{ ...config }` and is not written to JSON. */
const defaulted: unique symbol = Symbol('defaults of a scheduler config');

/** Values by key: those given (unless they are another class's defaults), else our defaults. */
export function readConfig<F extends Fields>(
  className: string,
  fields: F,
  given: SchedulerConfig,
): Values<F> {
  const values: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(fields)) {
    const value = explicit(given, key);
    const parsed = value === undefined ? field.fallback : field.parse(value);
    if (parsed === undefined) {
      throw new ArgumentError(`${className}: ${key} must be ${field.allowed}, got ${describeValue(value)}`);
    }
    values[key] = parsed;
  }
  return values as Values<F>;
}

function describeValue(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : describeJson(value);
}

/** What a caller or a file set; undefined for values that were only defaults of the class before. */
function explicit(given: SchedulerConfig, key: string): unknown {
  if (!Object.hasOwn(given, key)) return undefined;
  const before = (given as { [defaulted]?: Record<string, unknown> })[defaulted];
  return before && Object.hasOwn(before, key) && before[key] === given[key] ? undefined : given[key];
}

/** The config to show and to save: ours, then the keys that are only carried along. Warns about keys nobody knows. */
export function fullConfig(
  className: string,
  fields: Fields,
  values: object,
  given: SchedulerConfig,
): SchedulerConfig {
  const config: Record<string | symbol, unknown> = { _class_name: className };
  if (typeof given['_diffusers_version'] === 'string')
    config['_diffusers_version'] = given['_diffusers_version'];
  const defaults: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(fields)) {
    config[key] = (values as Record<string, unknown>)[key];
    if (explicit(given, key) === undefined) defaults[key] = field.fallback;
  }
  const unknown: string[] = [];
  for (const key of Object.keys(given)) {
    if (key.startsWith('_') || Object.hasOwn(fields, key)) continue;
    const value = explicit(given, key);
    if (value === undefined) continue;
    config[key] = value;
    if (!known.has(key)) unknown.push(key);
  }
  if (unknown.length > 0)
    log.warn(
      `${className}: config keys ${unknown.join(', ')} are not known and have no effect; they are kept`,
    );
  config[defaulted] = defaults;
  return config as SchedulerConfig;
}

/** A config with some keys set, as if they had been given (even to a value that was a default before). */
export function withOverrides(config: SchedulerConfig, overrides: SchedulerConfig): SchedulerConfig {
  const before = (config as { [defaulted]?: Record<string, unknown> })[defaulted] ?? {};
  const kept = Object.fromEntries(Object.entries(before).filter(([key]) => !Object.hasOwn(overrides, key)));
  return { ...config, ...overrides, [defaulted]: kept } as SchedulerConfig;
}
