// What was recorded stays when the process that recorded it, or the command above it, is killed; and all that the
// command prints can be made from it again.

import { spawn } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { appendLine, now, readRuns } from './record-file.ts';
import type { RunHead } from './records.ts';
import { summary } from './summary.ts';

const folder = mkdtempSync(join(tmpdir(), 'darkroom-records-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const head: RunHead = {
  environment: { date: 'today', node: '', cpu: '', cores: 1, commit: '', command: '', device: 'a GPU' },
  size: 'tiny',
  budgetSeconds: 1,
};
const torch = fileURLToPath(new URL('../../torch', import.meta.url));

test('a stage whose command was killed has failed with all of its records; a line that was cut off is left out', () => {
  const path = join(folder, 'a.jsonl');
  appendLine(path, { run: head });
  appendLine(path, { stage: 'kernels', at: now(), limit: 10 });
  for (let i = 0; i < 3; i++)
    appendLine(path, { stage: 'kernels', at: now(), record: { kind: 'check', name: 'kernels', passed: 20, unsupported: 0, failures: i === 1 ? ['3 is not 4'] : [], of: 100 } }); // prettier-ignore
  appendFileSync(path, '{"stage":"kernels","at":"x","rec');
  const [run] = readRuns(path);
  expect(run!.stages.map((s) => [s.name, s.status, s.message, s.records.length])).toEqual([
    ['kernels', 'failed', 'the run ended in this stage', 3],
  ]);
  const line = summary(run!, torch)
    .split('\n')
    .find((text) => text.startsWith('kernels'))!;
  expect(line.trim().split(/ +/)).toEqual(['kernels', '60', '1', '0', '100']);
});

test('each run in the file is one of its own, and ends are kept', () => {
  const path = join(folder, 'b.jsonl');
  for (const name of ['first', 'second']) {
    appendLine(path, { run: { ...head, budgetSeconds: name.length } });
    appendLine(path, { stage: name, at: now(), limit: 10 });
    appendLine(path, { stage: name, at: now(), end: { status: 'passed', seconds: 3 } });
  }
  expect(
    readRuns(path).map((r) => [r.budgetSeconds, r.stages.map((s) => [s.name, s.status, s.message])]),
  ).toEqual([
    [5, [['first', 'passed', undefined]]],
    [6, [['second', 'passed', undefined]]],
  ]);
});

test('killed parent, killed child: what was recorded before stands in the file, and the child does not stay', async () => {
  const path = join(folder, 'c.jsonl');
  const ids = join(folder, 'child');
  const source = (file: string): string =>
    JSON.stringify(new URL(`../../dist/verify/${file}`, import.meta.url).href);
  // The stage records until it is ended; the command runs it as verify does.
  const program = join(folder, 'program.mjs');
  writeFileSync(
    program,
    `import { writeFileSync } from 'node:fs';
    if (process.argv[2] === 'stage') {
      const { runStage } = await import(${source('run-stage.js')});
      writeFileSync(${JSON.stringify(ids)}, String(process.pid));
      const run = async ({ record }) => {
        for (let i = 0; ; i++) {
          record({ kind: 'fact', name: 'count', value: i });
          await new Promise((done) => setTimeout(done, 1));
        }
      };
      const stage = { name: 'endless', seconds: 1000, timing: false, run };
      await runStage(stage, { scratch: ${JSON.stringify(folder)} }, { seconds: 1000, records: ${JSON.stringify(path)} });
    } else {
      const { runPlan } = await import(${source('run-plan.js')});
      await runPlan({ stages: [{ name: 'endless', seconds: 1000 }], budgetSeconds: 1000, program: ${JSON.stringify(program)},
        childArguments: () => ['stage'], logs: ${JSON.stringify(folder)}, records: ${JSON.stringify(path)}, onResult: () => {} });
    }`,
  );
  writeFileSync(path, `${JSON.stringify({ run: head })}\n`);
  const parent = spawn(process.execPath, [program], { stdio: 'ignore' });
  const counted = (): number => readFileSync(path, 'utf8').split('"count"').length - 1;
  const until = async (done: () => boolean): Promise<void> => {
    for (let i = 0; i < 3000 && !done(); i++) await new Promise((later) => setTimeout(later, 20));
  };
  await until(() => counted() >= 20);
  parent.kill('SIGKILL');
  const child = Number(readFileSync(ids, 'utf8'));
  await until(() => !existsSync(`/proc/${child}`));
  expect(existsSync(`/proc/${child}`)).toBe(false);
  const [run] = readRuns(path);
  const records = run!.stages[0]!.records;
  expect(run!.stages[0]!.status).toBe('failed');
  expect(records.length).toBeGreaterThanOrEqual(20);
  expect(records.map((r) => r.kind === 'fact' && r.value)).toEqual(records.map((_, i) => i));
});
