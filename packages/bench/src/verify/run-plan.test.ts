// Isolation: a stage that throws, hangs or dies costs itself only, and what it recorded before stays.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readRuns } from './record-file.ts';
import type { RunHead, StageResult } from './records.ts';
import { runPlan } from './run-plan.ts';

const folder = mkdtempSync(join(tmpdir(), 'darkroom-plan-'));
const program = join(folder, 'child.mjs');
/** Written by the stage that hangs, once it has sent its record. */
const hanging = join(folder, 'hanging');
beforeAll(() =>
  writeFileSync(
    program,
    `import { writeFileSync } from 'node:fs';
    const send = (message) => new Promise((done) => process.send(message, done));
    await send({ record: { kind: 'fact', name: 'began', value: 1 } });
    const what = process.argv[2];
    if (what === 'hang') {
      writeFileSync(${JSON.stringify(hanging)}, '');
      setInterval(() => {}, 1000);
    }
    if (what === 'crash') { process.stderr.write('out of luck'); process.abort(); }
    if (what === 'throw') { await send({ failure: 'it did not work' }); process.exitCode = 1; }
    const after = process.argv[3];
    if (what === 'parts' && !after) {
      await send({ record: { kind: 'begin', name: 'one' } });
      await send({ record: { kind: 'begin', name: 'two' } });
      writeFileSync(${JSON.stringify(hanging)}, '');
      for (;;); // a native call that never comes back
    }
    if (what === 'parts') await send({ record: { kind: 'fact', name: 'went on after', value: after } });
    if (what === 'case') await send({ record: { kind: 'check', name: 'c', passed: 1, unsupported: 0, failures: ['3 is not 4'] } });
    if (what !== 'hang') process.disconnect();`,
  ),
);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** In place of time: a limit is over once a stage hangs. */
const untilItHangs = (_: number, end: () => void): (() => void) => {
  const id = setInterval(() => existsSync(hanging) && (rmSync(hanging), end()), 20);
  return () => clearInterval(id);
};

const plan = (names: readonly string[], budgetSeconds: number): Promise<readonly StageResult[]> =>
  runPlan({
    stages: names.map((name) => ({ name, seconds: 1000 })),
    limit: untilItHangs,
    budgetSeconds,
    program,
    logs: folder,
    childArguments: ({ name }) => [name],
    onResult: () => {},
  });

test('every kind of end is told, and the next stage runs', async () => {
  const results = await plan(['throw', 'hang', 'crash', 'case', 'pass'], 5000);
  expect(results.map((r) => [r.name, r.status])).toEqual([
    ['throw', 'failed'],
    ['hang', 'failed'],
    ['crash', 'failed'],
    ['case', 'failed'],
    ['pass', 'passed'],
  ]);
  expect(results.map((r) => r.records[0])).toEqual(Array(5).fill({ kind: 'fact', name: 'began', value: 1 }));
  const messages = results.map((r) => r.message ?? '');
  expect(messages[0]).toBe('it did not work');
  expect(messages[1]).toBe('not done after 1000 s');
  expect(messages[2]).toMatch(/^ended with SIGABRT: .*out of luck/s);
  expect(messages[3]).toBe('1 cases failed, first: 3 is not 4');
});

test('what the budget does not hold is listed as not run, after every stage', async () => {
  const seen: number[] = [];
  const results = await runPlan({
    stages: ['a', 'b'].map((name) => ({ name, seconds: 20 })),
    budgetSeconds: 4,
    program,
    logs: folder,
    childArguments: () => ['pass'],
    onResult: (all) => void seen.push(all.length),
  });
  expect(seen).toEqual([1, 2]);
  expect(results[1]!.status).toBe('not run');
  expect(results[1]!.message).toMatch(/^\d s of 4 s were left, it takes up to 20 s$/);
});

const parts = (vital: readonly string[], records: string): ReturnType<typeof runPlan> =>
  runPlan({
    stages: [
      { name: 'parts', seconds: 1000, silence: 7, vital },
      { name: 'pass', seconds: 1000 },
    ],
    budgetSeconds: 5000,
    program,
    logs: folder,
    records,
    limit: (seconds, end) => (seconds === 7 ? untilItHangs(seconds, end) : () => {}),
    childArguments: ({ name }, _, after) => (after === undefined ? [name] : [name, after]),
    onResult: () => {},
  });

test('a process that says nothing is ended, and its stage goes on behind the part where it hung', async () => {
  const [result, next] = await parts([], join(folder, 'a.jsonl'));
  expect(result!.status).toBe('failed');
  expect(result!.message).toBe('nothing heard for 7 s since two');
  expect(result!.records.at(-1)).toEqual({ kind: 'fact', name: 'went on after', value: 'two' });
  expect(next!.status).toBe('passed');
});

test('behind a vital part that failed nothing runs, and the file says where stages began and ended', async () => {
  const records = join(folder, 'b.jsonl');
  const head: RunHead = {
    environment: { date: '', node: '', cpu: '', cores: 1, commit: '', command: '', device: '' },
    size: 'tiny',
    budgetSeconds: 5000,
  };
  writeFileSync(records, `${JSON.stringify({ run: head })}\n`);
  const [result, next] = await parts(['two'], records);
  expect(result!.records.some((r) => r.kind === 'fact' && r.name === 'went on after')).toBe(false);
  expect([next!.status, next!.message]).toEqual(['not run', "not run because parts failed in 'two'"]);
  expect(readFileSync(records, 'utf8').trim().split('\n')).toHaveLength(4);
  const [run] = readRuns(records);
  expect(run!.stages.map(({ name, status, message }) => [name, status, message])).toEqual([
    ['parts', 'failed', 'nothing heard for 7 s since two'],
    ['pass', 'not run', "not run because parts failed in 'two'"],
  ]);
});
