// The verify command: runs the plan on a device, keeps records and one JSON up to date, and prints the tables last. For
// machines that are at hand for minutes only: whatever fails is reported and the rest goes on.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError, Option } from 'commander';
import { writeFileWholeSync } from '@darkroom/core/node';
import { environment } from '../report.ts';
import { gpuState } from './gpu.ts';
import { plan, stageNamed } from './plan.ts';
import { appendLine, readRuns } from './record-file.ts';
import type { RunHead, StageResult, VerifyReport } from './records.ts';
import { runPlan } from './run-plan.ts';
import { runStage } from './run-stage.ts';
import type { Stage, VerifyOptions } from './stage.ts';
import { summary } from './summary.ts';
import { archive, keepIn } from './results.ts';
import { visitOf } from './visits.ts';

interface Options {
  readonly device: string;
  readonly model: string;
  readonly torch: string;
  readonly runs: number;
  readonly budget?: number;
  readonly quick?: boolean;
  readonly tiny?: boolean;
  readonly json?: string;
  readonly records?: string;
  readonly after?: string;
  readonly only?: string;
  readonly visit?: number;
  readonly seed: string;
  readonly summary?: boolean;
  readonly stage?: string;
  readonly stageSeconds: number;
  readonly scratch?: string;
}

const here = dirname(fileURLToPath(import.meta.url));
const say = (text: string): void => void process.stdout.write(`${text}\n`);

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError(`must be a number above 0, got '${text}'`);
  return value;
}

export function verifyCommand(): Command {
  return new Command('verify')
    .description(
      "a device's correctness, then its speed at Stable Diffusion 1.5's size, beside torch where it is",
    )
    .argument('<goldens>', 'folder with manifest.json; with --summary a records.jsonl')
    .option('-d, --device <name>', 'cpu | webgpu | cuda', 'cuda')
    .option('--model <dir>', 'a small real model', join(here, '../../../../models/emoji-64'))
    .option('--torch <dir>', 'folder of replay.py', join(here, '../../torch'))
    .option('--runs <n>', 'random cases of each kind of op', positive, 20)
    .option('--budget <s>', 'seconds for all stages (default: 500; with --tiny none)', positive)
    .option('--quick', 'no timings')
    .option('--tiny', 'every stage at a tiny size: tries this command, measures nothing')
    .option('--only <text>', 'only stages whose name contains this')
    .option('--visit <n>', 'the stages of visit 1, 2 or 3; what they keep lies beside the JSON', positive)
    .option('--seed <dir>', 'with --visit: compiled kernels and tuning results to start with', 'seed')
    .option('--json <file>', 'kept up to date after every stage; records.jsonl and logs lie beside it')
    .option('--summary', 'print the tables of a records.jsonl, run nothing')
    .addOption(new Option('--stage <name>', 'one stage in this process').hideHelp())
    .addOption(new Option('--stage-seconds <s>').argParser(positive).default(600).hideHelp())
    .addOption(new Option('--records <file>').hideHelp())
    .addOption(new Option('--after <part>').hideHelp())
    .addOption(new Option('--scratch <dir>').hideHelp())
    .action(async (goldens: string, options: Options) => {
      if (options.summary) return readRuns(goldens).forEach((run) => say(`${summary(run, options.torch)}\n`));
      if (options.stage === undefined) return verifyAll(goldens, options);
      const stage = stageNamed(options.stage);
      await withScratch(options.scratch, (scratch) =>
        runStage(stage, stageOptions(goldens, options, scratch), {
          seconds: options.stageSeconds,
          ...(options.records !== undefined && { records: options.records }),
        }),
      );
    });
}

async function verifyAll(goldens: string, options: Options): Promise<void> {
  const visit = options.visit === undefined ? undefined : visitOf(options.visit);
  const chosen = visit
    ? visit.stages.map(([name, seconds]): Stage => ({ ...stageNamed(name), seconds }))
    : plan;
  const stages = chosen.filter(
    (s) => !(options.quick && s.timing) && (options.only === undefined || s.name.includes(options.only)),
  );
  // Sizes that are tiny are for machines of any speed: limits only end what hangs.
  const budget = options.budget ?? (options.tiny ? 24 * 3600 : (visit?.budgetSeconds ?? 500));
  if (!visit) return withScratch(undefined, (scratch) => runAll(goldens, options, stages, budget, scratch));
  if (options.json === undefined)
    throw new Error('verify: --visit needs --json, beside which it keeps what it makes');
  const results = resolve(dirname(options.json));
  const { scratch } = keepIn(results, options.seed);
  try {
    await runAll(goldens, options, stages, budget, scratch);
  } finally {
    archive(results);
  }
}

async function runAll(
  goldens: string,
  options: Options,
  stages: readonly Stage[],
  budgetSeconds: number,
  scratch: string,
): Promise<void> {
  const patience = options.tiny ? 100 : 1;
  const gpuBefore = gpuState();
  const head = (device: string): RunHead => ({
    environment: environment(device),
    size: options.tiny ? 'tiny' : 'full',
    budgetSeconds,
    ...(gpuBefore && { gpuBefore }),
  });
  const reportOf = (results: readonly StageResult[]): VerifyReport => ({
    kind: 'verify',
    ...head(deviceOf(results) ?? options.device),
    stages: results,
  });
  const folder = options.json === undefined ? scratch : dirname(options.json);
  mkdirSync(folder, { recursive: true });
  const records = join(folder, 'records.jsonl');
  appendLine(records, { run: head(options.device) });
  const results = await runPlan({
    stages: stages.map(({ run: _, silence, ...stage }) => ({
      ...stage,
      seconds: patience * stage.seconds,
      ...(silence !== undefined && { silence: patience * silence }),
    })),
    budgetSeconds,
    program: process.argv[1]!,
    childArguments: (stage, seconds, after) => [
      ...process.argv.slice(2),
      ...['--stage', stage.name, '--stage-seconds', String(seconds), '--scratch', scratch],
      ...['--records', records, ...(after === undefined ? [] : ['--after', after])],
    ],
    logs: folder,
    records,
    onResult: (all) => {
      const { name, status, seconds, message = '' } = all.at(-1)!;
      say(
        `${status.padEnd(8)} ${name.padEnd(36)} ${seconds.toFixed(1).padStart(6)} s  ${message.slice(0, 160)}`,
      );
      if (options.json) keep(options.json, reportOf(all));
    },
  });
  say(`\n${summary(reportOf(results), options.torch)}`);
  if (results.some((r) => r.status === 'failed') || !results.some((r) => r.status === 'passed'))
    process.exitCode = 1;
}

const stageOptions = (goldens: string, options: Options, scratch: string): VerifyOptions => ({
  ...options,
  goldens,
  scratch,
  results: options.json === undefined ? scratch : dirname(options.json),
  tiny: options.tiny ?? false,
  quick: options.quick ?? false,
});

/** Written whole, because the machine may go at any moment. */
function keep(path: string, report: VerifyReport): void {
  writeFileWholeSync(path, `${JSON.stringify(report, null, 2)}\n`);
}

async function withScratch<T>(given: string | undefined, body: (folder: string) => Promise<T>): Promise<T> {
  const folder = given ?? mkdtempSync(join(tmpdir(), 'darkroom-verify-'));
  try {
    return await body(folder);
  } finally {
    if (given === undefined) rmSync(folder, { recursive: true, force: true });
  }
}

function deviceOf(results: readonly StageResult[]): string | undefined {
  for (const record of results.flatMap((r) => r.records))
    if (record.kind === 'fact' && record.name === 'device')
      return (record.value as { fingerprint: string }).fingerprint;
  return undefined;
}
