// Isolation: a stage that throws, hangs or dies costs itself only, and what it recorded before stays.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { StageResult } from './records.ts';
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
    if (what === 'case') await send({ record: { kind: 'check', name: 'c', passed: 1, unsupported: 0, failures: ['3 is not 4'] } });
    if (what !== 'hang') process.disconnect();`,
  ),
);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const plan = (names: readonly string[], budgetSeconds: number): Promise<readonly StageResult[]> =>
  runPlan({
    stages: names.map((name) => ({ name, seconds: 1000 })),
    limit: (_, end) => {
      const id = setInterval(() => existsSync(hanging) && (rmSync(hanging), end()), 20);
      return () => clearInterval(id);
    },
    budgetSeconds,
    program,
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
    childArguments: () => ['pass'],
    onResult: (all) => void seen.push(all.length),
  });
  expect(seen).toEqual([1, 2]);
  expect(results[1]!.status).toBe('not run');
  expect(results[1]!.message).toMatch(/^\d s of 4 s were left, it takes up to 20 s$/);
});
