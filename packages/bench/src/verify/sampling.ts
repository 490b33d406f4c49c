// Repeated runs of one piece of work: warm up until steady, then runs for a share of the time.

import type { Spread } from './records.ts';

export interface SamplingOptions {
  /** For the runs after warming up; at least `least` are made whatever they take. */
  readonly seconds: number;
  readonly least: number;
  readonly most: number;
}

/** Warm-up ends when three runs agree this well. */
const settled = 0.01;
const longestWarmUp = 10;

/** `once` does the work and gives its milliseconds. */
export async function sample(once: () => Promise<number>, options: SamplingOptions): Promise<Spread> {
  const { seconds, least, most } = options;
  const start = performance.now();
  const spent = (): number => (performance.now() - start) / 1000;
  const warm: number[] = [];
  while (
    warm.length < Math.min(least, longestWarmUp) ||
    (warm.length < longestWarmUp && spent() < seconds / 2)
  ) {
    warm.push(await once());
    const last = warm.slice(-3);
    if (last.length === 3 && Math.max(...last) <= (1 + settled) * Math.min(...last)) break;
  }
  const samples: number[] = [];
  const deadline = spent() + seconds;
  while (samples.length < least || (samples.length < most && spent() < deadline)) samples.push(await once());
  return spreadOf(samples);
}

export function spreadOf(samples: readonly number[]): Spread {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
  return { median: at(0.5), p5: at(0.05), p95: at(0.95), samples };
}
