// Two runs of `bench table` side by side. Times whose spreads overlap count as no difference.

import { ArgumentError } from '@darkroom/core';
import type { Spread } from '../verify/records.ts';
import type { TableResult } from './result.ts';

/** One row of two runs; a and b are undefined where only the other run has it. */
export interface ComparedRow {
  readonly name: string;
  readonly unit: 'ms' | 'MiB';
  readonly a: number | undefined;
  readonly b: number | undefined;
  /** b by a: under 1, b takes less. */
  readonly ratio: number | undefined;
  readonly verdict: 'no difference' | 'b takes less' | 'b takes more' | 'only in a' | 'only in b';
}

/**
 * Times by their medians, then memory. Different devices may be compared; different work may not.
 * @throws ArgumentError for another model, number of steps or size
 */
export function compareTables(a: TableResult, b: TableResult): ComparedRow[] {
  for (const key of ['model', 'steps', 'side'] as const)
    if (a[key] !== b[key])
      throw new ArgumentError(`compare: ${key} must be the same in both files, got ${a[key]} and ${b[key]}`);
  const times = namesOf(a.rows, b.rows, (row) => row.name).map((name) => {
    const find = ({ rows }: TableResult): Spread | undefined => rows.find((row) => row.name === name)?.ms;
    return comparedRow(name, 'ms', find(a), find(b));
  });
  const exact = ({ memory }: TableResult, name: string): Range | undefined => {
    const row = memory.find(({ setting }) => setting === name);
    return row && { median: row.peakMiB, p5: row.peakMiB, p95: row.peakMiB };
  };
  const peaks = namesOf(a.memory, b.memory, (row) => row.setting).map((name) =>
    comparedRow(name, 'MiB', exact(a, name), exact(b, name)),
  );
  return [...times, ...peaks];
}

type Range = Pick<Spread, 'median' | 'p5' | 'p95'>;

/** In the order of a; those that only b has come last. */
const namesOf = <T>(a: readonly T[], b: readonly T[], name: (row: T) => string): string[] => [
  ...new Set([...a, ...b].map(name)),
];

function comparedRow(
  name: string,
  unit: ComparedRow['unit'],
  a: Range | undefined,
  b: Range | undefined,
): ComparedRow {
  const ratio = a && b && b.median / a.median;
  return { name, unit, a: a?.median, b: b?.median, ratio, verdict: verdictOf(a, b) };
}

function verdictOf(a: Range | undefined, b: Range | undefined): ComparedRow['verdict'] {
  if (!b) return 'only in a';
  if (!a) return 'only in b';
  if (a.p5 <= b.p95 && b.p5 <= a.p95) return 'no difference';
  return b.median < a.median ? 'b takes less' : 'b takes more';
}
