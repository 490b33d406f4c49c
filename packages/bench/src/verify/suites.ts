// The correctness stages: reference cases, random kernel cases beside the CPU's reference, and every choice of the device
// beside the CPU. Numbers of a device count only when these pass. Each compiles its kernels together first, says which
// case begins, and counts how many of all its cases ran.

import fc from 'fast-check';
import { checkKernelCase, kernelArbitraries, testCases } from '@darkroom/core/testing';
import { cpu } from '@darkroom/backend-cpu';
import { runConformance } from '@darkroom/conformance';
import type { Device } from '@darkroom/core';
import { openModel } from '@darkroom/diffusers';
import { casesOf, checkChoice } from '../choices.ts';
import { compileCases, idsOf } from './compare.ts';
import type { ChosenCase } from './compare.ts';
import type { StageContext } from './stage.ts';
import { requireDevice } from './watch.ts';

/** Messages of failed cases are kept up to here. */
const messageLimit = 400;
/** Passed cases are recorded by so many; failed ones at once. */
const tallied = 20;
/** Seconds that a stage leaves unused, so that it ends by itself. */
const spare = 2;
/** An emulated device runs a part of the cases: those whose id contains this, and `tinyKernels` kernel cases. */
const tinyFilter = 'op/linear';
const tinyKernels = 4;

/** Counts cases of a check into records. */
function tally(name: string, { record }: StageContext, of?: number) {
  let passed = 0;
  const flush = (failures: readonly string[] = [], unsupported = 0): void => {
    if (passed > 0 || failures.length > 0 || unsupported > 0)
      record({ kind: 'check', name, passed, unsupported, failures, ...(of !== undefined && { of }) });
    passed = 0;
  };
  return {
    pass: (count = 1): void => {
      passed += count;
      if (passed >= tallied) flush();
    },
    unsupported: (count: number): void => flush([], count),
    fail: (message: string): void => flush([message.slice(0, messageLimit)]),
    end: (): void => flush(),
  };
}

/** Runs cases one by one until the time is up. Behind a failure the device must still answer. */
async function runCases<C>(
  name: string,
  context: StageContext,
  device: Device,
  cases: readonly { readonly name: string; readonly test: C }[],
  check: (test: C) => Promise<string | undefined>,
): Promise<void> {
  const { begin, isDue, left } = context;
  const counts = tally(name, context, cases.length);
  for (const [i, c] of cases.entries()) {
    const part = `${i} ${c.name}`;
    if (!isDue(part)) continue;
    if (left() < spare) break;
    begin(part);
    const failure = await check(c.test).catch((error: unknown) => (error as Error).message);
    if (failure === undefined) counts.pass();
    else {
      counts.fail(failure);
      await requireDevice(device, part, failure);
    }
  }
  counts.end();
}

export async function conformance(context: StageContext): Promise<void> {
  const { options, open, begin, isDue, left } = context;
  const device = await open('off');
  const files = await openModel(options.goldens, { localFilesOnly: true });
  const counts = tally('conformance', context);
  let running = false;
  /** The case before passed unless it was told otherwise. */
  const closeCase = (): void => {
    if (running) counts.pass();
    running = false;
  };
  const { passed, failed } = await runConformance({
    device,
    files,
    ...(options.tiny ? { filter: tinyFilter } : {}),
    onCase: (id) => {
      closeCase();
      if (!isDue(id) || left() < spare) return false;
      begin(id);
      return (running = true);
    },
    onFailure: (id, why) => {
      running = false;
      counts.fail(`${id}: ${why}`);
    },
    onUnsupported: () => {
      running = false;
      counts.unsupported(1);
    },
  });
  closeCase();
  counts.end();
  if (passed === 0) throw new Error(`conformance: no case of ${options.goldens} passed, ${failed} failed`);
}

export async function kernelSuite(context: StageContext): Promise<void> {
  const { options, open } = context;
  const device = await open('off');
  using oracle = await cpu({ kernels: 'reference', threads: 1 });
  const random = Object.values(kernelArbitraries(fc)).flatMap((arbitrary) =>
    fc.sample(arbitrary, { numRuns: options.runs, seed: 7 }),
  );
  // Turn by turn through the ops, so that a stage that ends before has tried all of them.
  const turns = random.map((test, i) => ({ test, turn: i % options.runs })).sort((a, b) => a.turn - b.turn);
  const cases = [...testCases, ...turns.map((t) => t.test)].slice(0, options.tiny ? tinyKernels : undefined);
  context.begin('compile');
  await compileCases(
    cases.flatMap((test): ChosenCase[] => idsOf(test, device).slice(0, 1).map((id) => ({ test, id }))), // prettier-ignore
    device,
  );
  const named = cases.map((test) => ({ name: test.name, test }));
  await runCases('kernels', context, device, named, async (test) => {
    await checkKernelCase(test, device, oracle);
    return undefined;
  });
}

/** Checks every algorithm that the device has for a product, CUDA's libraries included. */
export async function choices(context: StageContext): Promise<void> {
  const { options, open } = context;
  const device = await open('off');
  // The fast kernels, which their own suite compares with the reference: that would take minutes here.
  using oracle = await cpu();
  const types = options.tiny ? (['float16'] as const) : (['float16', 'float32', 'bfloat16'] as const);
  const cases = types
    .flatMap(casesOf)
    .slice(0, options.tiny ? 2 : undefined)
    .flatMap((test) => idsOf(test, device).map((id): Required<ChosenCase> => ({ test, id })));
  context.begin('compile');
  await compileCases(cases, device);
  const named = cases.map((test) => ({ name: `${test.id} ${test.test.name}`, test }));
  await runCases('choices', context, device, named, checkChoice(device, oracle));
}
