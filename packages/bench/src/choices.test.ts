// The check of every choice passes on the CPU's kernels, counts all of them, and sees one that is wrong.

import { expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { Device } from '@darkroom/core';
import type { Backend, Choice, Kernel, KernelOp } from '@darkroom/core/backend';
import { casesOf, checkChoice } from './choices.ts';
import { idsOf } from './verify/compare.ts';

/** Counts of what agrees, and failures, over all choices of all cases. */
async function checkAll(device: Device, oracle: Device): Promise<{ passed: number; failures: string[] }> {
  const check = checkChoice(device, oracle);
  const failures: string[] = [];
  let passed = 0;
  for (const test of casesOf('float16'))
    for (const id of idsOf(test, device)) {
      const failure = await check({ test, id });
      if (failure === undefined) passed++;
      else failures.push(failure);
    }
  return { passed, failures };
}

test('every choice is run, and a wrong one is a failure with its name', async () => {
  const oracle = await cpu();
  const device = await cpu({ threads: 1 });
  const good = await checkAll(device, oracle);
  expect(good.failures).toEqual([]);
  expect(good.passed).toBeGreaterThanOrEqual(21);

  // A second choice for attention that runs another scale.
  const { backend } = device;
  const wrong = new Proxy(backend, {
    get(target, name) {
      if (name === 'choices')
        return (...[op, args]: Parameters<Backend['choices']>): readonly Choice[] => [
          ...target.choices(op, args),
          ...(op.kind === 'attention' ? [{ id: 'wrong-1' }] : []),
        ];
      if (name === 'prepare')
        return (...[op, args, choice]: Parameters<Backend['prepare']>): Kernel => {
          if (choice.id !== 'wrong-1') return target.prepare(op, args, choice);
          const known = op as KernelOp;
          const other: KernelOp = known.kind === 'attention' ? { ...known, scale: 2 * known.scale } : known;
          return target.prepare(other, args, target.choices(other, args)[0]!);
        };
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  const bad = await checkAll(new Device(wrong), oracle);
  expect(bad.passed).toBe(good.passed);
  expect(bad.failures.length).toBe(5);
  expect(bad.failures[0]).toMatch(
    /^wrong-1: float16 attention 256x256 d40 none: element \d+ is .*, the oracle has/,
  );
  device[Symbol.dispose]();
  oracle[Symbol.dispose]();
});
