// Splits a plan into segments, most of which need not run at every call. The first input (the sample) is new each time;
// others (the prompt, conditions, sometimes the timestep) often stay the same. Launches that do not depend on the first
// input move to the front, in segments by the inputs that they read; a replay runs a segment only when one of those
// changed.

import { inputsOf, outputsOf } from './plan-data.ts';
import type { PlanSegment } from './plan-data.ts';

/** The part of a launch that is read here: bases of its inputs, then of its outputs. */
interface Writes {
  readonly args: readonly { readonly base: number }[];
  readonly outputs?: number;
}

/**
 * Orders launches into segments, the one of the first input last. `inputs` are names by base; every other base that no
 * launch writes is a weight.
 */
export function segmentLaunches<S extends Writes>(
  launches: readonly S[],
  inputs: ReadonlyMap<number, string>,
  hoist: boolean,
): { launches: S[]; segments: PlanSegment[] } {
  const names = [...inputs.values()];
  const everything = { reads: names, from: 0, to: launches.length };
  if (!hoist || names.length === 0) return { launches: [...launches], segments: [everything] };
  const dependencies = dependenciesOf(launches, inputs);
  const keyOf = (launch: S): string => {
    const reads = names.filter((name) => dependencies(launch).has(name));
    return JSON.stringify(reads.includes(names[0]!) ? names : reads);
  };
  const groups = new Map<string, S[]>();
  for (const launch of launches) {
    const key = keyOf(launch);
    groups.set(key, [...(groups.get(key) ?? []), launch]);
  }
  // A segment reads what segments of fewer inputs wrote.
  const ordered = [...groups]
    .map(([key, members]) => ({ reads: JSON.parse(key) as string[], members }))
    .sort((a, b) => a.reads.length - b.reads.length);
  let at = 0;
  const segments = ordered.map(({ reads, members }) => ({ reads, from: at, to: (at += members.length) }));
  return { launches: ordered.flatMap((g) => g.members), segments };
}

/**
 * Bases whose elements are the same at every run of the last segment: weights, and values that launches which run once
 * compute from weights. `isWeight` is true for a bound base that is no input.
 */
export function fixedBases(
  launches: readonly Writes[],
  segments: readonly PlanSegment[],
  isWeight: (base: number) => boolean,
): ReadonlySet<number> {
  const writtenBy = ({ from, to }: PlanSegment): number[] =>
    launches.slice(from, to).flatMap((launch) => outputsOf(launch).map(({ base }) => base));
  const once = segments.slice(0, -1).filter(({ reads }) => reads.length === 0);
  const again = new Set(segments.filter((s) => !once.includes(s)).flatMap(writtenBy));
  const weights = launches.flatMap(({ args }) => args.map((arg) => arg.base)).filter(isWeight);
  return new Set([...weights, ...once.flatMap(writtenBy)].filter((base) => !again.has(base)));
}

/**
 * The inputs that a launch depends on. Launches that write one base (its parts) depend on the same inputs, so that they
 * stay in one segment. A base that is written again after a launch read it depends on all inputs, so that its readers
 * stay in order in one segment.
 */
function dependenciesOf<S extends Writes>(
  launches: readonly S[],
  inputs: ReadonlyMap<number, string>,
): (launch: S) => ReadonlySet<string> {
  const byBase = new Map<number, Set<string>>([...inputs].map(([base, name]) => [base, new Set([name])]));
  const read = new Set<number>();
  for (const launch of launches) {
    for (const input of inputsOf(launch)) read.add(input.base);
    for (const { base } of outputsOf(launch)) if (read.has(base)) byBase.set(base, new Set(inputs.values()));
  }
  const of = (launch: S): Set<string> =>
    new Set(launch.args.flatMap(({ base }) => [...(byBase.get(base) ?? [])]));
  for (let changed = true; changed;) {
    changed = false;
    for (const launch of launches) {
      const now = of(launch);
      for (const { base } of outputsOf(launch)) {
        if (now.size === (byBase.get(base)?.size ?? 0)) continue;
        byBase.set(base, now);
        changed = true;
      }
    }
  }
  return of;
}
