// The correctness stages: the device's libraries, reference cases, random kernel cases beside the CPU's reference, and
// one picture of a real model beside the CPU's. Numbers of a device count only when these pass.

import fc from 'fast-check';
import { checkKernelCase, kernelArbitraries, testCases } from '@darkroom/core/testing';
import { cpu } from '@darkroom/backend-cpu';
import { runConformance } from '@darkroom/conformance';
import { openModel } from '@darkroom/diffusers';
import { checkChoices } from '../choices.ts';
import type { StageContext } from './stage.ts';

/** Messages of failed cases are kept up to here; the count is exact. */
const messageLimit = 400;
/** An emulated device runs a part of the cases: those whose id contains this, and `tinyKernels` kernel cases. */
const tinyFilter = 'op/linear';
const tinyKernels = 4;

export async function conformance({ options, record, open }: StageContext): Promise<void> {
  const device = await open('off');
  const files = await openModel(options.goldens, { localFilesOnly: true });
  const failures: string[] = [];
  const report = await runConformance({
    device,
    files,
    ...(options.tiny ? { filter: tinyFilter } : {}),
    onFailure: (id, why) => void failures.push(`${id}: ${why.slice(0, messageLimit)}`),
  });
  const { passed, unsupported } = report;
  record({ kind: 'check', name: 'conformance', passed, unsupported, failures });
  if (passed === 0) throw new Error(`conformance: no case of ${options.goldens} passed`);
}

export async function kernelSuite({ options, record, open }: StageContext): Promise<void> {
  const device = await open('off');
  const oracle = await cpu({ kernels: 'reference', threads: 1 });
  const random = Object.values(kernelArbitraries(fc)).flatMap((arbitrary) =>
    fc.sample(arbitrary, { numRuns: options.runs, seed: 7 }),
  );
  const cases = [...testCases, ...random].slice(0, options.tiny ? tinyKernels : undefined);
  const failures: string[] = [];
  for (const c of cases) {
    try {
      await checkKernelCase(c, device, oracle);
    } catch (error) {
      failures.push((error as Error).message.slice(0, messageLimit));
    }
  }
  oracle[Symbol.dispose]();
  const passed = cases.length - failures.length;
  record({ kind: 'check', name: 'kernels', passed, unsupported: 0, failures });
}

/** Checks every algorithm that the device has for a product, CUDA's libraries included. */
export async function choices({ options, record, open }: StageContext): Promise<void> {
  const device = await open('off');
  // The fast kernels, which their own suite compares with the reference: that would take minutes here.
  using oracle = await cpu();
  const { passed, failures } = await checkChoices(device, oracle, options.tiny ? ['float16'] : undefined, options.tiny ? 2 : undefined); // prettier-ignore
  record({ kind: 'fact', name: 'choices', value: passed });
  const count = Object.values(passed).reduce((sum, n) => sum + n, 0);
  record({ kind: 'check', name: 'choices', passed: count, unsupported: 0, failures });
}
