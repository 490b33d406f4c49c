// Noise levels (sigma = sqrt((1 - p) / p), p the cumulative product) and their spacings.
// Reference: Karras et al. 2022 (equation 5), Lu et al. 2022 (uniform log-SNR), Lee et al. 2024 (beta).

import { betaQuantile } from './beta-distribution.ts';
import type { Refuse } from './config.ts';
import { borrowed, flag, optionalNumber } from './fields.ts';
import type { Field } from './fields.ts';
import { interpolate, linspace } from './numeric.ts';

export interface SigmaConfig {
  readonly use_karras_sigmas: boolean;
  readonly use_exponential_sigmas: boolean;
  readonly use_beta_sigmas: boolean;
  readonly sigma_min?: number | null;
  readonly sigma_max?: number | null;
}

export const sigmaFields: {
  readonly use_karras_sigmas: Field<boolean>;
  readonly use_exponential_sigmas: Field<boolean>;
  readonly use_beta_sigmas: Field<boolean>;
} = {
  use_karras_sigmas: flag(false),
  use_exponential_sigmas: flag(false),
  use_beta_sigmas: flag(false),
};

/** The range of spaced sigmas; null is the end of the training table. */
export const sigmaRangeFields: {
  readonly sigma_min: Field<number | null>;
  readonly sigma_max: Field<number | null>;
} = { sigma_min: optionalNumber(1e-6, 1e6), sigma_max: optionalNumber(1e-6, 1e6) };

/** sigmaRangeFields for classes that read the range from configs of other classes and save it only if it is given. */
export const borrowedRangeFields: typeof sigmaRangeFields = {
  sigma_min: borrowed(sigmaRangeFields.sigma_min),
  sigma_max: borrowed(sigmaRangeFields.sigma_max),
};

/** Throws when more than one spacing of sigmas is asked for. */
export function checkSigmaSpacing(refuse: Refuse, config: SigmaConfig): void {
  const on = (['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas'] as const).filter(
    (k) => config[k],
  );
  if (on.length > 1) refuse(`only one of ${on.join(' and ')} can be true`);
}

/** The sigma of every training step, rising. */
export function trainSigmas(alphasCumprod: Float32Array): Float32Array {
  const f = Math.fround;
  // The last product after zero-SNR rescaling, 2^-24, gives a root a hair below the middle of two floats, which torch
  // rounds up to 4096: the factor lifts it over, and changes nothing else.
  return alphasCumprod.map((p) => Math.sqrt(f(f(1 - p) / p)) * (1 + 2 ** -50));
}

/** The sigma at a (fractional) timestep. */
export function sigmaAt(t: number, train: Float32Array): number {
  return interpolate(t, train);
}

/** The (fractional) timestep of a sigma, by interpolating its logarithm in the training table. */
export function timestepOf(sigma: number, train: Float32Array): number {
  const logs = logTable(train);
  const log = Math.log(Math.max(sigma, 1e-10));
  const low = Math.min(lastNotAbove(logs, log), logs.length - 2);
  if (low < 0) return 0; // a table of one entry
  const span = logs[low]! - logs[low + 1]!;
  // Betas of 0 make equal levels, or levels of 0: no interpolation between two such entries.
  const w = span !== 0 && Number.isFinite(span) ? (logs[low]! - log) / span : 0;
  const clipped = Math.min(1, Math.max(0, w));
  return (1 - clipped) * low + clipped * (low + 1);
}

/** The index of the last entry of a rising table that is not above x; 0 where all are. */
function lastNotAbove(table: Float32Array, x: number): number {
  // Zero-SNR rescaling sets the last entry by itself: of very many steps it may not be the highest.
  if (x >= table.at(-1)!) return table.length - 1;
  let [low, high] = [0, table.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (x >= table[middle]!) low = middle;
    else high = middle;
  }
  return low;
}

const logTables = new WeakMap<Float32Array, Float32Array>();
function logTable(train: Float32Array): Float32Array {
  const known = logTables.get(train);
  if (known) return known;
  const made = train.map(Math.log);
  logTables.set(train, made);
  return made;
}

/**
 * n falling sigmas between the range of `sigmas` (or the config's own), or undefined when the config spaces timesteps.
 */
export function spacedSigmas(
  config: SigmaConfig,
  sigmas: ArrayLike<number>,
  n: number,
  refuse: Refuse,
): number[] | undefined {
  if (!config.use_karras_sigmas && !config.use_exponential_sigmas && !config.use_beta_sigmas)
    return undefined;
  const high = config.sigma_max ?? sigmas[0]!;
  const low = config.sigma_min ?? sigmas[sigmas.length - 1]!;
  if (n > 1 && !(low < high)) {
    const [from, to] = [config.sigma_min, config.sigma_max].map((v) =>
      (v ?? null) === null ? ' (of the table)' : '',
    );
    refuse(`sigma_min ${low}${from} must be below sigma_max ${high}${to}`);
  }
  if (config.use_karras_sigmas) return karras(low, high, n);
  if (config.use_exponential_sigmas) return linspace(Math.log(high), Math.log(low), n).map(Math.exp);
  return linspace(0, 1, n).map((x) => low + betaQuantile(1 - x, 0.6, 0.6) * (high - low));
}

function karras(low: number, high: number, n: number): number[] {
  const rho = 7;
  const [from, to] = [high ** (1 / rho), low ** (1 / rho)];
  return linspace(0, 1, n).map((x) => (from + x * (to - from)) ** rho);
}

/** Uniform steps of the logarithm between the ends of the training table. */
export function luSigmas(train: Float32Array, n: number): number[] {
  const logs = logTable(train);
  const [from, to] = [logs.at(-1)!, logs[0]!];
  return linspace(0, 1, n).map((x) => Math.exp(from + x * (to - from)));
}

/** Sigmas rounded to float32 with the last one appended. */
export function withFinal(sigmas: readonly number[], final: number): number[] {
  return [...sigmas, final].map(Math.fround);
}
