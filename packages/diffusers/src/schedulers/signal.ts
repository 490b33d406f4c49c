// Checks that the noise schedule has both signal and noise at each timestep of a run: without either a step divides by
// zero. Only the timesteps of the run are checked: the rest of the table may be degenerate.

import { describeBetas } from './betas.ts';
import type { BetaConfig } from './betas.ts';
import type { Refuse } from './config.ts';
import { limits } from './prediction.ts';
import type { ClipConfig, Prediction } from './prediction.ts';

/** Smallest normal float32: below it a product has lost its digits, and its noise level has no square in float32. */
const least = 2 ** -126;
/** The noise level at that product, about. */
const highest = 1e19;

/** `products` at the timesteps that a run reads must be below 1 and above 0. */
export function checkProducts(
  refuse: Refuse,
  config: BetaConfig,
  products: Float32Array,
  timesteps: readonly number[],
): void {
  for (const t of timesteps) {
    const p = products[t]!;
    if (p >= least && p < 1) continue;
    refuse(
      `${describeBetas(config)} must leave the product of 1 - beta above ${least.toExponential(1)} and below 1, got ${p} at timestep ${t}`,
    );
  }
}

/** As checkProducts, for classes that can begin without any signal (zero terminal SNR). */
export function checkProductsFromZero(
  refuse: Refuse,
  config: BetaConfig,
  products: Float32Array,
  timesteps: readonly number[],
): void {
  checkProducts(refuse, config, products, products[timesteps[0]!] === 0 ? timesteps.slice(1) : timesteps);
}

/**
 * Refuses a step from pure noise with a prediction of the noise, which gives no x0 unless x0 is limited. Checked in the
 * step, as image-to-image may start below it.
 */
export function requireSignal(
  refuse: Refuse,
  config: ClipConfig & { readonly prediction_type: Prediction },
  product: number,
  t: number,
): void {
  if (product > 0 || config.prediction_type !== 'epsilon' || limits(config)) return;
  refuse(
    `prediction_type must be 'v_prediction' or 'sample' where no signal is left (timestep ${t}), got 'epsilon'`,
  );
}

/**
 * Requires each level but the final one to be below the one before: multi-step methods divide by the differences.
 */
export function checkFalling(
  refuse: Refuse,
  config: BetaConfig,
  sigmas: readonly number[],
  time: (sigma: number) => number = (sigma) => -sigma,
): void {
  for (let i = 1; i < sigmas.length - 1; i++) {
    const [before, now] = [sigmas[i - 1]!, sigmas[i]!];
    if (time(now) > time(before)) continue;
    refuse(
      `${describeBetas(config)} must give each of ${sigmas.length - 1} steps a lower noise level, got ${now} after ${before} at step ${i}; use fewer steps`,
    );
  }
}

/** Every noise level but the final one must be a positive number whose square float32 holds. */
export function checkLevels(
  refuse: Refuse,
  config: BetaConfig,
  { timesteps, sigmas }: { readonly timesteps: readonly number[]; readonly sigmas: readonly number[] },
): void {
  for (const [i, sigma] of sigmas.slice(0, -1).entries()) {
    if (sigma > 0 && sigma <= highest) continue;
    refuse(
      `${describeBetas(config)} must give noise levels above 0 and at most ${highest}, got ${sigma} at timestep ${timesteps[i]}`,
    );
  }
}
