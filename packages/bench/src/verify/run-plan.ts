// The parent's side: runs every stage in a child process, which is ended after its share of time. Records that a stage
// sent are kept even if it fails.

import { fork } from 'node:child_process';
import { gpuState } from './gpu.ts';
import type { StageRecord, StageResult } from './records.ts';
import type { StageMessage } from './run-stage.ts';
import type { Stage } from './stage.ts';

export interface PlanOptions {
  readonly stages: readonly Pick<Stage, 'name' | 'seconds'>[];
  readonly budgetSeconds: number;
  /** This program, whose children run the stages. */
  readonly program: string;
  /** Arguments of the program that make a child run one stage. */
  readonly childArguments: (stage: Pick<Stage, 'name'>, seconds: number) => readonly string[];
  /** Calls `end` after so many seconds; what it returns calls that off. Default: a timer. */
  readonly limit?: (seconds: number, end: () => void) => () => void;
  /** After every stage, with all results so far. */
  readonly onResult: (results: readonly StageResult[]) => void;
}

/** A stage is not begun with less than this: a device would hardly be open. */
const leastSeconds = 5;
/** Characters of a crashed child's stderr that are kept. */
const stderrLimit = 600;

function timer(seconds: number, end: () => void): () => void {
  const id = setTimeout(end, 1000 * seconds);
  return () => clearTimeout(id);
}

export async function runPlan(options: PlanOptions): Promise<readonly StageResult[]> {
  const { stages, budgetSeconds, program, childArguments, onResult, limit = timer } = options;
  const end = performance.now() + 1000 * budgetSeconds;
  const results: StageResult[] = [];
  for (const stage of stages) {
    const left = (end - performance.now()) / 1000;
    const seconds = Math.min(stage.seconds, left);
    if (left < leastSeconds) {
      const message = `${Math.max(0, left).toFixed(0)} s of ${budgetSeconds} s were left, it takes up to ${stage.seconds} s`;
      results.push({ name: stage.name, status: 'not run', message, seconds: 0, records: [] });
    } else {
      const result = await runChild(stage.name, seconds, program, childArguments(stage, seconds), limit);
      const gpu = gpuState();
      results.push(gpu ? { ...result, gpu } : result);
    }
    onResult(results);
  }
  return results;
}

function runChild(
  name: string,
  seconds: number,
  program: string,
  args: readonly string[],
  limit: NonNullable<PlanOptions['limit']>,
): Promise<StageResult> {
  return new Promise((resolve) => {
    const start = performance.now();
    const records: StageRecord[] = [];
    let failure: string | undefined;
    let stderr = '';
    const child = fork(program, args, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    const callOff = limit(seconds, () => {
      failure = `not done after ${seconds.toFixed(0)} s`;
      child.kill('SIGKILL');
    });
    child
      .stderr!.setEncoding('utf8')
      .on('data', (text: string) => (stderr = (stderr + text).slice(-stderrLimit)));
    child.on('message', (message: StageMessage) => {
      if ('record' in message) records.push(message.record);
      else failure = message.failure;
    });
    child.on('close', (code, signal) => {
      callOff();
      if (code !== 0) failure ??= `ended with ${signal ?? code}: ${stderr.trim()}`;
      const checks = records.filter((r) => r.kind === 'check');
      const failed = checks.reduce((n, c) => n + c.failures.length, 0);
      if (failed > 0) failure ??= `${failed} cases failed, first: ${checks.flatMap((c) => c.failures)[0]}`;
      const took = (performance.now() - start) / 1000;
      const base = { name, seconds: took, records };
      resolve(
        failure === undefined
          ? { ...base, status: 'passed' }
          : { ...base, status: 'failed', message: failure },
      );
    });
  });
}
