// The tables of a run as text.

import type { MemoryRow } from '../memory.ts';
import { table } from '../report.ts';
import type { ComparedRow } from './compare.ts';
import type { TableTimes } from './result.ts';
import { tableSettings } from './settings.ts';

const round = (x: number, digits = 2): number => Number(x.toFixed(digits));
const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;

/** The guide's first table and its second. */
export function printTimes({ model, side, steps, rounds, rows, peer }: TableTimes): string {
  const first = rows.map((row) => ({
    setting: row.name,
    's a picture': round(row.ms.median / 1000, 3),
    'p5 … p95': `${round(row.ms.p5 / 1000, 3)} … ${round(row.ms.p95 / 1000, 3)}`,
    factor: `x${row.factor.toFixed(2)}`,
    'ms a step': round(row.stepMs.median),
    'of roofline': percent(row.rooflineShare),
    'torch ms': row.torchStepMs === undefined ? '-' : round(row.torchStepMs),
    note: row.note ?? '',
  }));
  // The last two rows differ by attention alone.
  const attention = rows.slice(-2).map((row, i) => ({
    attention: tableSettings.at(i - 2)!.attention === 'plain' ? 'plain' : 'memory-efficient',
    'it/s': round(1000 / row.stepMs.median),
    'of roofline': percent(row.rooflineShare),
    'torch it/s': row.torchStepMs === undefined ? '-' : round(1000 / row.torchStepMs),
  }));
  return [
    `${model}, ${side}x${side}, ${steps} DDIM steps with guidance, ${rounds} rounds; each row keeps those above it`,
    table(first),
    `\nTwo kinds of attention, float16, channels last, traced`,
    table(attention),
    `\n${peer.note}`,
  ].join('\n');
}

/** Peaks under each of the guide's memory settings. */
export function printMemory(memory: readonly MemoryRow[]): string {
  const peaks = memory.map((row) => ({
    setting: row.setting,
    'peak MiB': round(row.peakMiB, 1),
    'with cache': round(row.reservedMiB, 1),
    'ms a step, decode shared': round(row.ms, 1),
  }));
  return [
    `Memory: ${memory[0]?.work ?? ''}; peak bytes that tensors held, weights included`,
    table(peaks),
  ].join('\n');
}

/** Two runs side by side. */
export function printCompared(rows: readonly ComparedRow[]): string {
  const cell = (value: number | undefined): string | number => (value === undefined ? '-' : round(value));
  return table(
    rows.map(({ name, unit, a, b, ratio, verdict }) => ({
      row: name,
      unit,
      a: cell(a),
      b: cell(b),
      'b / a': cell(ratio),
      verdict,
    })),
  );
}
