// The parent's side: runs every stage in a child process, which is ended after its share of time or when it says nothing
// for too long. Records that a stage sent are kept even if it fails. A stage that hung, crashed or lost its device goes
// on in a new process, behind the part where that happened.

import { fork } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gpuState } from './gpu.ts';
import { appendLine, now } from './record-file.ts';
import type { StageRecord, StageResult } from './records.ts';
import type { StageMessage } from './run-stage.ts';
import { lostCode } from './stage.ts';
import type { Stage } from './stage.ts';

/** A stage as the parent sees it. */
export type PlannedStage = Pick<Stage, 'name' | 'seconds'> &
  Partial<Pick<Stage, 'silence' | 'env' | 'vital'>>;

export interface PlanOptions {
  readonly stages: readonly PlannedStage[];
  readonly budgetSeconds: number;
  /** This program, whose children run the stages. */
  readonly program: string;
  /** Arguments of the program that make a child run one stage; `after`: behind the part of this name. */
  readonly childArguments: (stage: PlannedStage, seconds: number, after?: string) => readonly string[];
  /** Folder of what children print: stderr-<stage>.txt, whole. */
  readonly logs: string;
  /** File of records, which children append to and which is told where stages begin and end. */
  readonly records?: string;
  /** Calls `end` after so many seconds; what it returns calls that off. Default: a timer. */
  readonly limit?: (seconds: number, end: () => void) => () => void;
  /** After every stage, with all results so far. */
  readonly onResult: (results: readonly StageResult[]) => void;
}

/** A stage is not begun with less than this: a device would hardly be open. */
const leastSeconds = 5;
/** Characters of a crashed child's stderr that its message has. */
const stderrLimit = 600;
/** Parts that may be silent for longer: gigabytes of libraries are read from a cold disk, kernels are compiled. */
const slowParts: readonly string[] = ['its start', 'open', 'compile'];
const slowTimes = 3;
/** Processes of one stage at most. */
const mostProcesses = 6;

function timer(seconds: number, end: () => void): () => void {
  const id = setTimeout(end, 1000 * seconds);
  return () => clearTimeout(id);
}

export async function runPlan(options: PlanOptions): Promise<readonly StageResult[]> {
  const { stages, budgetSeconds, onResult, records } = options;
  const end = performance.now() + 1000 * budgetSeconds;
  mkdirSync(options.logs, { recursive: true });
  const results: StageResult[] = [];
  let stopped: string | undefined;
  for (const stage of stages) {
    const left = (end - performance.now()) / 1000;
    const seconds = Math.min(stage.seconds, left);
    const { name } = stage;
    let result: StageResult;
    if (stopped !== undefined || left < leastSeconds) {
      const message =
        stopped ??
        `${Math.max(0, left).toFixed(0)} s of ${budgetSeconds} s were left, it takes up to ${stage.seconds} s`;
      result = { name, status: 'not run', message, seconds: 0, records: [] };
    } else {
      if (records) appendLine(records, { stage: name, at: now(), limit: seconds });
      const whole = await runWhole(stage, seconds, options);
      result = whole.result;
      const gpu = gpuState();
      if (gpu) result = { ...result, gpu };
      if (whole.failedPart !== undefined) stopped = `not run because ${name} failed in '${whole.failedPart}'`;
    }
    results.push(result);
    if (records) {
      const { name: _, records: __, ...ended } = result;
      appendLine(records, { stage: name, at: now(), end: ended });
    }
    onResult(results);
  }
  return results;
}

/** A stage in as many processes as it takes. `failedPart`: a vital part of it that failed. */
async function runWhole(
  stage: PlannedStage,
  seconds: number,
  options: PlanOptions,
): Promise<{ readonly result: StageResult; readonly failedPart: string | undefined }> {
  const start = performance.now();
  const spent = (): number => (performance.now() - start) / 1000;
  const all: StageRecord[] = [];
  const failures: string[] = [];
  const isVital = (name: string): boolean => stage.vital?.includes(name) ?? false;
  let after: string | undefined;
  let failedPart: string | undefined;
  for (let i = 0; i < mostProcesses; i++) {
    const ended = await runChild(stage, seconds - spent(), options, after);
    all.push(...ended.records);
    if (ended.failure !== undefined) failures.push(ended.failure);
    const last = ended.records.findLast((r) => r.kind === 'begin');
    if (ended.failure !== undefined && last && isVital(last.name)) failedPart = last.name;
    if (failedPart !== undefined || !ended.again || !last || seconds - spent() < leastSeconds) break;
    after = last.name;
  }
  const failed = all.flatMap((r) => (r.kind === 'check' ? r.failures : []));
  if (failures.length === 0 && failed.length > 0)
    failures.push(`${failed.length} cases failed, first: ${failed[0]}`);
  const base = { name: stage.name, seconds: spent(), records: all };
  const result: StageResult =
    failures.length === 0
      ? { ...base, status: 'passed' }
      : { ...base, status: 'failed', message: failures.join('; ') };
  return { result, failedPart };
}

interface Ended {
  readonly records: readonly StageRecord[];
  readonly failure: string | undefined;
  /** True if another process may go on behind the last part that began. */
  readonly again: boolean;
}

function runChild(
  stage: PlannedStage,
  seconds: number,
  { program, childArguments, logs, limit = timer }: PlanOptions,
  after: string | undefined,
): Promise<Ended> {
  return new Promise((resolve) => {
    const records: StageRecord[] = [];
    let failure: string | undefined;
    let again = false;
    const path = join(logs, `stderr-${stage.name.replaceAll(/[^\w.+-]+/g, '-')}.txt`);
    const output = openSync(path, 'a');
    const child = fork(program, childArguments(stage, seconds, after), {
      stdio: ['ignore', output, output, 'ipc'],
      // Kernels are compiled, and events waited for, on libuv's threads.
      env: { UV_THREADPOOL_SIZE: '16', ...process.env, ...stage.env },
    });
    closeSync(output);
    const stop = (why: string): void => {
      failure = why;
      child.kill('SIGKILL');
    };
    const callOff = limit(seconds, () => stop(`not done after ${seconds.toFixed(0)} s`));
    let quiet = (): void => {};
    const listen = (): void => {
      quiet();
      if (stage.silence === undefined) return;
      const last = records.findLast((r) => r.kind === 'begin')?.name ?? 'its start';
      const silence = slowParts.includes(last) ? slowTimes * stage.silence : stage.silence;
      quiet = limit(silence, () => {
        again = true;
        stop(`nothing heard for ${silence} s since ${last}`);
      });
    };
    listen();
    child.on('message', (message: StageMessage) => {
      if ('record' in message) records.push(message.record);
      else failure = message.failure;
      listen();
    });
    child.on('close', (code, signal) => {
      callOff();
      quiet();
      if (code !== 0) failure ??= `ended with ${signal ?? code}: ${endOf(path)}`;
      // A process that was not ended by us and has no exit code of its own crashed.
      again ||= code === lostCode || (signal !== null && signal !== 'SIGKILL');
      resolve({ records, failure, again });
    });
  });
}

function endOf(path: string): string {
  return readFileSync(path, 'utf8').slice(-stderrLimit).trim();
}
