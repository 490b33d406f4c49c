// The conformance command as a user runs it: built, in its own process.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '@darkroom/diffusers/testing';

const main = join(root, 'packages/conformance/dist/main.js');
const goldens = join(root, 'fixtures/goldens');

function conformance(...args: string[]): { status: number | null; out: string; err: string } {
  const done = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
  return { status: done.status, out: done.stdout, err: done.stderr };
}

test('counts what passes on the device', () => {
  const { status, out } = conformance(goldens, '--device', 'cpu', '--filter', 'op/silu');
  expect([status, out]).toEqual([0, '6 passed, 0 failed, 0 unsupported\n']);
});

test('fails where no case or no folder is', () => {
  expect(conformance(goldens, '--filter', 'nothing').status).toBe(1);
  expect(conformance(join(root, 'none'))).toEqual({
    status: 1,
    out: '',
    err: expect.stringMatching(/^darkroom: .*none/),
  });
});

test('wrong usage has a code of its own', () => {
  expect(conformance().status).toBe(2);
  expect(conformance(goldens, '--colour').status).toBe(2);
});
