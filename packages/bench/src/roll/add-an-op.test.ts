// docs/add-an-op.md names the files that an op touches: they are few. scripts/docs.test.ts sees that they are there.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const text = readFileSync(join(root, 'docs/add-an-op.md'), 'utf8');

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
