// Repeated runs of one piece of work: warm up until steady, then runs for a share of the time.

import type { Spread } from './records.ts';

export interface SamplingOptions {
  /** Time of all runs, warm-up included; a started run is finished. */
  readonly seconds: number;
  /** Runs at least, also if they exceed `seconds`. */
  readonly least: number;
  readonly most: number;
}

/** Warm-up ends when three runs agree this well, after ten, or when a quarter of the time is spent. */
const settled = 0.01;
const longestWarmUp = 10;
const warmUpShare = 0.25;

/** `once` does the work and gives its milliseconds. */
export async function sample(once: () => Promise<number>, options: SamplingOptions): Promise<Spread> {
  const { seconds, least, most } = options;
  const start = performance.now();
  const spent = (): number => (performance.now() - start) / 1000;
  const warm: number[] = [];
  const isWarm = (): boolean => {
    const last = warm.slice(-3);
    return last.length === 3 && Math.max(...last) <= (1 + settled) * Math.min(...last);
  };
  do warm.push(await once());
  while (!isWarm() && warm.length < longestWarmUp && spent() < warmUpShare * seconds);
  const samples: number[] = [];
  while (samples.length < least || (samples.length < most && spent() < seconds)) samples.push(await once());
  return spreadOf(samples);
}

export function spreadOf(samples: readonly number[]): Spread {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
  return { median: at(0.5), p5: at(0.05), p95: at(0.95), samples };
}
