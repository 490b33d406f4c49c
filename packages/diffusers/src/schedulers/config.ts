// Scheduler configs: snake_case keys with diffusers' defaults, checked one by one.
// A config remembers which values were defaults, so that another class built from it applies its own defaults.
// Reference: scheduler_config.json and diffusers' ConfigMixin.from_config.

import { ArgumentError, FormatError, log } from '@darkroom/core';
import { describeValue } from './fields.ts';
import type { Fields, SchedulerConfig, Values } from './fields.ts';

export type { SchedulerConfig } from './fields.ts';

/** Throws an error that names the source of the config. */
export type Refuse = (message: string) => never;

/** Names the file that a config was loaded from, and the class; only the class when the config was made in code. */
export function refusal(className: string, file: string | undefined): Refuse {
  return (message) => {
    if (file === undefined) throw new ArgumentError(`${className}: ${message}`);
    throw new FormatError(`${file}: ${className}: ${message}`);
  };
}

/** Every key that one of the classes reads: the other classes carry it along without a warning. */
// prettier-ignore
export const knownKeys: ReadonlySet<string> = new Set([
  'algorithm_type', 'beta_end', 'beta_schedule', 'beta_start', 'clip_sample', 'clip_sample_range', 'disable_corrector',
  'dynamic_thresholding_ratio', 'euler_at_final', 'final_sigmas_type', 'flow_shift', 'interpolation_type',
  'lambda_min_clipped', 'lower_order_final', 'num_train_timesteps', 'original_inference_steps', 'predict_x0',
  'prediction_type', 'rescale_betas_zero_snr', 'sample_max_value', 'set_alpha_to_one', 'shift_terminal', 'sigma_max',
  'sigma_min', 'skip_prk_steps', 'solver_order', 'solver_p', 'solver_type', 'steps_offset', 'thresholding',
  'time_shift_type', 'timestep_scaling', 'timestep_spacing', 'timestep_type', 'trained_betas', 'use_beta_sigmas',
  'use_dynamic_shifting', 'use_exponential_sigmas', 'use_flow_sigmas', 'use_karras_sigmas', 'use_lu_lambdas',
  'variance_type',
]);

/** The values that were defaults, under a symbol: it survives `{ ...config }` and is not written to JSON. */
const defaulted: unique symbol = Symbol('defaults of a scheduler config');

/**
 * The values of all fields: given ones (unless they were only another class's defaults), else this class's defaults.
 */
export function readConfig<F extends Fields>(fields: F, given: SchedulerConfig, refuse: Refuse): Values<F> {
  const values: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(fields)) {
    const value = explicit(given, key);
    const parsed = value === undefined ? field.fallback : field.parse(value, given);
    if (parsed === undefined) {
      const allowed = typeof field.allowed === 'string' ? field.allowed : field.allowed(value);
      refuse(`${key} must be ${allowed}, got ${describeValue(value)}`);
    }
    values[key] = parsed;
  }
  return values as Values<F>;
}

/** The value that a caller or a file set; undefined for a default of the class that the config came from. */
function explicit(given: SchedulerConfig, key: string): unknown {
  if (!Object.hasOwn(given, key)) return undefined;
  const before = (given as { [defaulted]?: Record<string, unknown> })[defaulted];
  return before && Object.hasOwn(before, key) && before[key] === given[key] ? undefined : given[key];
}

/** The config to save: this class's values, then keys of other classes. Warns about keys that no class has. */
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
    const left = explicit(given, key) === undefined;
    if (left && field.borrowed) continue;
    config[key] = (values as Record<string, unknown>)[key];
    if (left) defaults[key] = field.fallback;
  }
  const unknown: string[] = [];
  for (const key of Object.keys(given)) {
    if (key.startsWith('_') || Object.hasOwn(fields, key)) continue;
    const value = explicit(given, key);
    if (value === undefined) continue;
    config[key] = value;
    if (!knownKeys.has(key)) unknown.push(key);
  }
  if (unknown.length > 0) {
    const names = describeKeys(unknown);
    log.warn(`${className}: config keys ${names} are not known and have no effect; they are kept`);
  }
  config[defaulted] = defaults;
  return config as SchedulerConfig;
}

/** The first keys by name: a file may hold any number, of any length. */
function describeKeys(keys: readonly string[]): string {
  const first = keys.slice(0, 8).map((key) => (key.length > 60 ? `${key.slice(0, 60)}…` : key));
  return first.join(', ') + (keys.length > 8 ? ` and ${keys.length - 8} more` : '');
}

/** A config with some keys set, as if they had been given (even to a value that was a default before). */
export function withOverrides(config: SchedulerConfig, overrides: SchedulerConfig): SchedulerConfig {
  const before = (config as { [defaulted]?: Record<string, unknown> })[defaulted] ?? {};
  const kept = Object.fromEntries(Object.entries(before).filter(([key]) => !Object.hasOwn(overrides, key)));
  return { ...config, ...overrides, [defaulted]: kept } as SchedulerConfig;
}
