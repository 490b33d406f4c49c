// The training noise schedule: betas and the cumulative products of 1 - beta, in float32 like diffusers' tables.
// The selection of steps for inference is in spacing.ts and sigmas.ts.
// Reference: Nichol and Dhariwal 2021 (cosine), Lin et al. 2023, algorithm 1 (zero terminal SNR).

import { readConfig, refusal } from './config.ts';
import type { Refuse, SchedulerConfig } from './config.ts';
import { flag, integer, number, optionalNumbers } from './fields.ts';
import type { Field } from './fields.ts';
import { linspaceFloat32 } from './numeric.ts';

export type BetaSchedule = 'linear' | 'scaled_linear' | 'squaredcos_cap_v2' | 'sigmoid' | 'laplace' | 'exp';

export interface BetaConfig {
  readonly num_train_timesteps: number;
  readonly beta_start: number;
  readonly beta_end: number;
  readonly beta_schedule: BetaSchedule;
  readonly trained_betas: readonly number[] | null;
}

const everywhere = ['linear', 'scaled_linear', 'squaredcos_cap_v2'] as const;
const special = ['sigmoid', 'laplace', 'exp'] as const;

/** The keys that every scheduler has. `extra` names beta schedules that only some classes know. */
export function betaFields(
  start = 0.0001,
  end = 0.02,
  schedule: BetaSchedule = 'linear',
  extra: readonly BetaSchedule[] = [],
): { readonly [K in keyof BetaConfig]: Field<BetaConfig[K]> } {
  return {
    num_train_timesteps: integer(1000, 1),
    beta_start: number(start, 0, 1),
    beta_end: number(end, 0, 1),
    beta_schedule: betaSchedule(schedule, [...everywhere, ...extra]),
    trained_betas: optionalNumbers(0, 1),
  };
}

/** The beta_schedule key. With trained_betas it has no effect, so names of other classes are allowed. */
function betaSchedule(fallback: BetaSchedule, words: readonly BetaSchedule[]): Field<BetaSchedule> {
  const anywhere: readonly BetaSchedule[] = [...everywhere, ...special];
  return {
    fallback,
    allowed: words.map((w) => `'${w}'`).join(', '),
    parse: (v, { trained_betas: trained }) =>
      (Array.isArray(trained) ? anywhere : words).find((w) => w === v),
  };
}

const f = Math.fround;

export interface BetaTable {
  readonly betas: Float32Array;
  /** Product of 1 - beta up to and with each step. */
  readonly alphasCumprod: Float32Array;
}

/** The keys of a table and their values, for messages. */
export function describeBetas(c: BetaConfig): string {
  if (c.trained_betas) return 'trained_betas';
  return `beta_schedule '${c.beta_schedule}' from beta_start ${c.beta_start} to beta_end ${c.beta_end} over num_train_timesteps ${c.num_train_timesteps}`;
}

/**
 * The table of a config. With `zeroSnr` the betas are rescaled so that the last step is pure noise; its product is then
 * `lastProduct` if given (2^-24 where a sigma must stay finite).
 */
export function betaTable(
  config: BetaConfig,
  refuse: Refuse,
  zeroSnr = false,
  lastProduct?: number,
): BetaTable {
  const { trained_betas: trained, num_train_timesteps: train } = config;
  if (trained && trained.length !== train)
    refuse(`trained_betas: ${trained.length} values for num_train_timesteps ${train}; give one a step`);
  let betas = trained ? Float32Array.from(trained) : makeBetas(config);
  if (zeroSnr) betas = rescaleToZeroSnr(betas);
  const alphasCumprod = cumulativeProduct(betas);
  if (zeroSnr && lastProduct !== undefined) alphasCumprod[alphasCumprod.length - 1] = lastProduct;
  return { betas, alphasCumprod };
}

/** The training table of a config in scheduler_config.json's form; keys left out take the common defaults. */
export function noiseTables(config: SchedulerConfig): BetaTable {
  const refuse: Refuse = refusal('noiseTables', undefined);
  const fields = { ...betaFields(0.0001, 0.02, 'linear', special), rescale_betas_zero_snr: flag(false) };
  const values = readConfig(fields, config, refuse);
  return betaTable(values, refuse, values.rescale_betas_zero_snr);
}

function makeBetas(config: BetaConfig): Float32Array {
  const { num_train_timesteps: n, beta_start: start, beta_end: end } = config;
  switch (config.beta_schedule) {
    case 'linear':
      return linspaceFloat32(start, end, n);
    case 'scaled_linear':
      return linspaceFloat32(Math.sqrt(start), Math.sqrt(end), n).map((b) => b * b);
    case 'squaredcos_cap_v2':
      return fromAlphaBar(n, (t) => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2);
    case 'exp':
      return fromAlphaBar(n, (t) => Math.exp(-12 * t));
    case 'laplace':
      return fromAlphaBar(n, laplace);
    case 'sigmoid':
      return linspaceFloat32(-6, 6, n).map(
        (x) => f(f(1 / f(1 + f(Math.exp(-x)))) * f(end - start)) + f(start),
      );
  }
}

/** Betas under which the cumulative product follows a curve over [0, 1], capped at 0.999. */
function fromAlphaBar(n: number, alphaBar: (t: number) => number): Float32Array {
  return Float32Array.from({ length: n }, (_, i) =>
    Math.min(1 - alphaBar((i + 1) / n) / alphaBar(i / n), 0.999),
  );
}

function laplace(t: number): number {
  const side = t <= 0.5 ? 1 : -1;
  const snr = Math.exp(-0.5 * side * Math.log(1 - 2 * Math.abs(0.5 - t) + 1e-6));
  return Math.sqrt(snr / (1 + snr));
}

/** Accumulated in float64 and stored in float32, as torch does on the host. */
function cumulativeProduct(betas: Float32Array): Float32Array {
  let product = 1;
  return betas.map((b) => (product *= f(1 - b)));
}

function rescaleToZeroSnr(betas: Float32Array): Float32Array {
  const roots = cumulativeProduct(betas).map(Math.sqrt);
  const [first, last] = [roots[0]!, roots.at(-1)!];
  const scale = f(first / f(first - last));
  const products = roots.map((r) => f(f(r - last) * scale)).map((r) => r * r);
  return products.map((p, i) => 1 - (i === 0 ? p : f(p / products[i - 1]!)));
}
