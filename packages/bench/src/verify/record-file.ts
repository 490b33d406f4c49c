// Everything that a run records, one JSON a line, appended at once: by the stage's process what it records, by the
// command where stages begin and end. Whatever is killed, what stands in the file stays, and all else is made from it.

import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import type { RunHead, StageRecord, StageResult, VerifyReport } from './records.ts';

/** How a stage ended. */
export type StageEnd = Pick<StageResult, 'status' | 'seconds'> &
  Partial<Pick<StageResult, 'message' | 'gpu'>>;

export type RecordLine =
  | { readonly run: RunHead }
  | { readonly stage: string; readonly at: string; readonly limit: number }
  | { readonly stage: string; readonly at: string; readonly record: StageRecord }
  | { readonly stage: string; readonly at: string; readonly end: StageEnd };

/** The time of a line. */
export const now = (): string => new Date().toISOString();

/** One write of a whole line, so that processes can share the file. */
export function appendLine(path: string, line: RecordLine): void {
  appendFileSync(path, `${JSON.stringify(line)}\n`);
}

/** The runs in the file, oldest first. A line that was cut off by a kill is left out. */
export function readRuns(path: string): readonly VerifyReport[] {
  if (!existsSync(path)) throw new Error(`${path}: no records are there`);
  const runs: VerifyReport[] = [];
  let stages: StageResult[] = [];
  for (const text of readFileSync(path, 'utf8').split('\n')) {
    const line = parsed(text);
    if (line === undefined) continue;
    if ('run' in line) {
      stages = [];
      runs.push({ kind: 'verify', ...line.run, stages });
      continue;
    }
    let at = stages.findLastIndex((s) => s.name === line.stage);
    if ('limit' in line || at < 0) {
      const message = 'the run ended in this stage';
      at = stages.push({ name: line.stage, status: 'failed', message, seconds: 0, records: [] }) - 1;
    }
    const stage = stages[at]!;
    if ('record' in line) (stage.records as StageRecord[]).push(line.record);
    if ('end' in line) {
      const { message: _, ...rest } = stage;
      stages[at] = { ...rest, ...line.end };
    }
  }
  return runs;
}

function parsed(text: string): RecordLine | undefined {
  try {
    return JSON.parse(text) as RecordLine;
  } catch {
    return undefined;
  }
}
