// Timing with benchmark.js: several candidates on the same work, interleaved, so that a busy machine hurts all alike.
// Reported: the median and the spread over samples, and the fastest, which is steadiest on shared machines.

import Benchmark from 'benchmark';

export interface Candidate {
  readonly name: string;
  /** One unit of work; awaited. */
  run(): Promise<void> | void;
}

export interface Timing {
  readonly name: string;
  readonly medianMs: number;
  readonly fastestMs: number;
  readonly p10Ms: number;
  readonly p90Ms: number;
  readonly samples: number;
}

/** One deferred benchmark.js run of a candidate; resolves to its sample times in ms. */
function sample(candidate: Candidate, seconds: number): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const bench = new Benchmark({
      name: candidate.name,
      defer: true,
      maxTime: seconds,
      minSamples: 2,
      initCount: 1,
      fn(deferred: { resolve(): void }) {
        Promise.resolve(candidate.run()).then(() => deferred.resolve(), reject);
      },
      onComplete(this: Benchmark) {
        resolve(this.stats.sample.map((s) => s * 1000));
      },
      onError: (event: Benchmark.Event) => reject((event.target as unknown as { error: Error }).error),
    });
    bench.run({ async: true });
  });
}

/** Rounds of all candidates in turn; `seconds` is the time each gets per round. */
export async function measure(
  candidates: readonly Candidate[],
  options: { rounds?: number; seconds?: number } = {},
): Promise<Timing[]> {
  const { rounds = 4, seconds = 0.4 } = options;
  const times = new Map<string, number[]>(candidates.map((c) => [c.name, []]));
  for (const candidate of candidates) await candidate.run(); // warm up
  for (let round = 0; round < rounds; round++) {
    for (const candidate of candidates)
      times.get(candidate.name)!.push(...(await sample(candidate, seconds)));
  }
  return candidates.map(({ name }) => summarize(name, times.get(name)!));
}

/** Order statistics of samples in ms. */
export function summarize(name: string, samples: readonly number[]): Timing {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
  return {
    name,
    medianMs: at(0.5),
    fastestMs: sorted[0]!,
    p10Ms: at(0.1),
    p90Ms: at(0.9),
    samples: sorted.length,
  };
}
