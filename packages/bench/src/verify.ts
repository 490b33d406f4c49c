// bench verify: everything a device must pass before its numbers count, then its numbers, as one table and one JSON.
// For machines that are at hand for minutes only (bundle:gpu): whatever fails is reported and the rest goes on.

import fc from 'fast-check';
import { scope } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { checkKernelCase, kernelArbitraries, testCases } from '@darkroom/core/testing';
import { cpu } from '@darkroom/backend-cpu';
import { openModel, UNet2DConditionModel } from '@darkroom/diffusers';
import { runConformance } from '@darkroom/diffusers/conformance';
import { checkChoices } from './choices.ts';
import type { ChoicesResult } from './choices.ts';
import { benchOps } from './ops.ts';
import type { OpRow } from './ops.ts';
import { randomTensor, randomWeights } from './random-weights.ts';
import { sd15UNet } from './sd15.ts';

export interface VerifyOptions {
  /** Folder of reference cases. */
  readonly goldens: string;
  /** Random cases of each kind of op. */
  readonly runs: number;
  /** Leaves out what takes a real device. */
  readonly quick: boolean;
  readonly say: (line: string) => void;
}

export interface VerifyResult {
  readonly device: string;
  readonly conformance: { readonly passed: number; readonly failed: number; readonly unsupported: number };
  readonly kernels: { readonly passed: number; readonly failures: readonly string[] };
  /** Every kernel that the device has for products, not only the first: CUDA's libraries are among them. */
  readonly choices: ChoicesResult;
  readonly ops: readonly OpRow[];
  /** UNet of SD 1.5, batch 2, 64x64 latents, eager: milliseconds of a forward, by dtype. */
  readonly unet: readonly { readonly dtype: string; readonly ms: number; readonly peakMiB: number }[];
  readonly errors: readonly string[];
}

export async function verify(device: Device, options: VerifyOptions): Promise<VerifyResult> {
  const { say } = options;
  const errors: string[] = [];
  /** A part that fails leaves its mark and an empty result. */
  const part = async <T>(name: string, empty: T, body: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    try {
      return await body();
    } catch (error) {
      errors.push(`${name}: ${(error as Error).message.slice(0, 600)}`);
      return empty;
    } finally {
      say(`${name}: ${((performance.now() - start) / 1000).toFixed(1)} s`);
    }
  };
  const conformance = await part('conformance', { passed: 0, failed: 0, unsupported: 0 }, () =>
    conform(device, options),
  );
  const kernels = await part('kernels', { passed: 0, failures: [] }, () => kernelSuite(device, options.runs));
  const choices = options.quick
    ? noChoices
    : await part('choices', noChoices, async () => {
        // The fast kernels, which their own suite compares with the reference: that would take minutes here.
        using oracle = await cpu();
        return checkChoices(device, oracle);
      });
  const ops = options.quick
    ? []
    : await part('ops', [], () => benchOps(device, undefined, { seconds: 0.05, rounds: 2 }));
  const unet = options.quick ? [] : await part('unet', [], () => unetSteps(device));
  return { device: device.caps.fingerprint, conformance, kernels, choices, ops, unet, errors };
}

const noChoices: ChoicesResult = { passed: {}, failures: [] };

async function conform(
  device: Device,
  { goldens, say }: VerifyOptions,
): Promise<VerifyResult['conformance']> {
  const files = await openModel(goldens, { localFilesOnly: true });
  const report = await runConformance({ device, files, onFailure: (id, why) => say(`FAIL ${id}: ${why}`) });
  return { passed: report.passed, failed: report.failed, unsupported: report.unsupported };
}

async function kernelSuite(device: Device, runs: number): Promise<VerifyResult['kernels']> {
  const oracle = await cpu({ kernels: 'reference', threads: 1 });
  const failures: string[] = [];
  let passed = 0;
  const check = async (c: (typeof testCases)[number]): Promise<void> => {
    try {
      await checkKernelCase(c, device, oracle);
      passed++;
    } catch (error) {
      failures.push((error as Error).message.slice(0, 400));
    }
  };
  for (const c of testCases) await check(c);
  for (const arbitrary of Object.values(kernelArbitraries(fc))) {
    for (const c of fc.sample(arbitrary, { numRuns: runs, seed: 7 })) await check(c);
  }
  oracle[Symbol.dispose]();
  return { passed, failures };
}

/** Twice the batch for guidance, as in a denoising step; channels-last; the fastest of ten forwards. */
async function unetSteps(device: Device): Promise<VerifyResult['unet']> {
  const rows: { dtype: string; ms: number; peakMiB: number }[] = [];
  for (const dtype of ['float32', 'float16'] as const) {
    const unet = UNet2DConditionModel.fromConfig(sd15UNet, 'SD 1.5');
    randomWeights(unet, device, dtype);
    await unet.to({ memoryFormat: 'channelsLast' });
    const sample = randomTensor([2, 4, 64, 64], device, dtype);
    const text = randomTensor([2, 77, 768], device, dtype);
    device.resetPeakMemory();
    let ms = Infinity;
    for (let i = 0; i < 10; i++) {
      const time = await device.backend.time(() =>
        scope(() => unet.call(sample, 500, text).sample).dispose(),
      );
      ms = Math.min(ms, time);
    }
    rows.push({ dtype, ms, peakMiB: Math.round(device.memory().peak / 2 ** 20) });
    unet.dispose();
    sample.dispose();
    text.dispose();
    device.emptyCache();
  }
  return rows;
}
