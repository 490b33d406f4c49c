// What `bench table` measured, and how its JSON file is read again.

import { readFileSync } from 'node:fs';
import { ArgumentError } from '@darkroom/core';
import type { MemoryRow } from '../memory.ts';
import type { Spread } from '../verify/records.ts';
import type { Peer } from './peer.ts';

/** A row of the first table. */
export interface TableRow {
  readonly name: string;
  readonly note?: string;
  /** Of a whole picture, from prompt to pixels. */
  readonly ms: Spread;
  /** Of a denoising step. */
  readonly stepMs: Spread;
  /** How many times as fast as the first row, by medians. */
  readonly factor: number;
  /** Least milliseconds of a step in the row's dtype at the device's own rates, and their share of the median step. */
  readonly leastMs: number;
  readonly rooflineShare: number;
  /** Of the same step in torch, where it was measured. */
  readonly torchStepMs?: number;
}

/** One point of the plot: steps of `images` pictures at once, `side` pixels wide and high. */
export interface ScalePoint {
  readonly images: number;
  readonly side: number;
  readonly stepMs: Spread;
  readonly leastMs: number;
}

/** Steps by the number of pictures, and by their size. */
export interface Scaling {
  readonly batch: readonly ScalePoint[];
  readonly size: readonly ScalePoint[];
}

/** Times of each setting. */
export interface TableTimes {
  readonly model: string;
  readonly device: string;
  readonly steps: number;
  readonly side: number;
  readonly rounds: number;
  readonly rows: readonly TableRow[];
  readonly peer: Peer;
}

/** All of one run. */
export interface TableResult extends TableTimes {
  readonly memory: readonly MemoryRow[];
  readonly scaling?: Scaling;
}

/** Reads a file that `bench table --json` wrote. @throws ArgumentError for another file, naming it and what is wrong */
export function readTable(path: string): TableResult {
  const wrong = (what: string): ArgumentError => new ArgumentError(`${path}: ${what}`);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw wrong(`must be a JSON file of bench table (${(error as Error).message})`);
  }
  const { kind, result } = recordOf(value);
  if (kind !== 'table') throw wrong(`kind must be 'table', got ${JSON.stringify(kind) ?? 'none'}`);
  const { rows, memory, steps, side, model } = recordOf(result);
  if (typeof steps !== 'number' || typeof side !== 'number' || typeof model !== 'string')
    throw wrong('model, steps and side must be there');
  if (!Array.isArray(rows) || !rows.every(isRow))
    throw wrong('rows must have a name, and ms with median, p5 and p95 above 0');
  if (!Array.isArray(memory) || !memory.every(isMemory))
    throw wrong('memory must have a setting, and peakMiB above 0');
  return result as TableResult;
}

const recordOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};

const isPositive = (value: unknown): boolean => Number.isFinite(value) && (value as number) > 0;

function isRow(value: unknown): boolean {
  const { name, ms } = recordOf(value);
  const { median, p5, p95 } = recordOf(ms);
  return typeof name === 'string' && [median, p5, p95].every(isPositive);
}

function isMemory(value: unknown): boolean {
  const { setting, peakMiB } = recordOf(value);
  return typeof setting === 'string' && isPositive(peakMiB);
}
