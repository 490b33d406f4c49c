// docs/add-an-op.md names the files that an op touches: each is there, and they are few.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const text = readFileSync(join(root, 'docs/add-an-op.md'), 'utf8');

test('the files that it names exist', () => {
  const named = [...text.matchAll(/`(packages\/[^`]+)`/g)].map((m) => m[1]!);
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

test('an op takes eight files at most, and the toy seven', () => {
  const rows = text.split('\n').filter((line) => line.startsWith('| `'));
  expect(rows.length).toBe(8);
  const toy = readdirSync(join(root, 'packages/bench/src/roll')).filter(
    (name) => name !== 'add-an-op.test.ts',
  );
  expect(toy.toSorted()).toEqual([
    'cases.ts',
    'fast.ts',
    'gpu.ts',
    'reference.ts',
    'register.ts',
    'roll.test.ts',
    'roll.ts',
  ]);
});
