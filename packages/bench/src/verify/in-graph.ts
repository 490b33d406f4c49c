// Device time of a trace's launches as a graph runs them: each launch many times in a graph of its own. Events around
// single launches would measure how fast the host enqueues, which takes longer than most kernels of a UNet.

import type { Device } from '@darkroom/core';
import type { PreparedLaunch } from '@darkroom/core/backend';
import type { Plan } from '@darkroom/core/graph';
import type { KernelsRecord } from './records.ts';
import { replaced } from './replaced.ts';

/** One launch of a trace. */
export interface TimedLaunch {
  /** `op/choice`, then the shapes of its arguments. */
  readonly label: string;
  readonly ms: number;
}

/** Replays that are timed; the least counts, since all that disturbs a replay makes it longer. */
const replays = 3;

/**
 * Times each launch that `run` repeats at every call of a trace. `release` frees the trace's memory, so that the next
 * run prepares its launches anew. Arguments stay in caches from one repetition to the next: times of kernels bound by
 * memory are a little too short. @throws Error where the backend makes no graphs
 */
export async function timedLaunches(
  device: Device,
  plan: Plan,
  { run, release }: { readonly run: () => void; readonly release: () => void },
  /** Launches of one kernel in a graph. Each time holds the gap to the next launch, as in a whole graph. */
  repeats = 20,
): Promise<readonly TimedLaunch[]> {
  const { backend } = device;
  const compile = backend.compile?.bind(backend);
  if (!compile) throw new Error(`in-graph times: ${backend.name} makes no graphs of launches`);
  const seen: (readonly PreparedLaunch[])[] = [];
  release();
  const seeing: typeof compile = (launches) => {
    seen.push(launches);
    return compile(launches);
  };
  replaced(backend, 'compile', seeing, run);
  const { from, to } = plan.segments.at(-1)!;
  const launches = seen.at(-1)!;
  if (launches.length !== to - from)
    throw new Error(`in-graph times: the trace ran ${launches.length} launches, its plan has ${to - from}`);
  const timed: TimedLaunch[] = [];
  for (const [i, launch] of launches.entries()) {
    const shapes = plan.launches[from + i]!.args.map(({ layout }) => layout.shape.join(','));
    const compiled = compile(Array.from({ length: repeats }, () => launch));
    try {
      for (let warm = 0; warm < 2; warm++) compiled.run(); // the second run captures the graph
      let least = Infinity;
      for (let k = 0; k < replays; k++) least = Math.min(least, await backend.time(() => compiled.run()));
      timed.push({ label: `${launch.kernel.label} ${shapes.join(' ')}`, ms: least / repeats });
    } finally {
      compiled[Symbol.dispose]();
    }
  }
  return timed;
}

/** Launches of one label and shape as one line each, the longest first. */
export function byLabel(timed: readonly TimedLaunch[]): KernelsRecord['kernels'] {
  const totals = new Map<string, { calls: number; ms: number }>();
  for (const { label, ms } of timed) {
    const sum = totals.get(label) ?? { calls: 0, ms: 0 };
    totals.set(label, { calls: sum.calls + 1, ms: sum.ms + ms });
  }
  return [...totals].map(([label, t]) => ({ label, ...t })).sort((a, b) => b.ms - a.ms);
}
