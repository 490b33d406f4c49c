// Runs every case of a folder on a device and reports line by line. An unknown kind of case is a failure; cases of
// pipelines that are not implemented count as unsupported, never as passed.

import { Scope } from '@darkroom/core';
import type { AnyModule, Device } from '@darkroom/core';
import { loadModel } from '@darkroom/diffusers';
import type { ModelFiles } from '@darkroom/diffusers';
import { lookUp } from '@darkroom/diffusers/testing';
import { callEagerly, callTraced } from './call.ts';
import type { Call } from './call.ts';
import { mismatch, toleranceOf } from './compare.ts';
import type { CaseContext, CaseResult, CaseRunner } from './context.ts';
import type { GoldenCase } from './manifest.ts';
import { readGoldens, TensorFiles } from './manifest.ts';
import { runClipText, runUnet, runUnetTrace, runVaeDecode, runVaeEncode } from './models.ts';
import { runOp } from './ops.ts';
import { runPipeline } from './pipelines.ts';
import { runAddNoise, runSchedulerTable, runSchedulerTrace, runTimestepTables } from './schedulers.ts';
import { runTokenizer } from './tokenizer.ts';

const runners: Readonly<Record<string, CaseRunner>> = {
  op: runOp,
  clip_text: runClipText,
  unet: runUnet,
  unet_trace: runUnetTrace,
  vae_encode: runVaeEncode,
  vae_decode: runVaeDecode,
  scheduler_trace: runSchedulerTrace,
  scheduler_add_noise: runAddNoise,
  scheduler_table: runSchedulerTable,
  timestep_tables: runTimestepTables,
  pipeline: runPipeline,
  tokenizer: runTokenizer,
};

/** Tolerance of timestep lists: the reference's values are stored in float32. */
const exact = { atol: 1e-4, rtol: 1e-6 };

/** Options of a run: device, selection of cases, report. */
export interface ConformanceOptions {
  readonly device: Device;
  readonly files: ModelFiles;
  /** Only cases whose id contains this. */
  readonly filter?: string;
  /** Runs traces of ops, models and pipelines; those without passes must give eager's bits. */
  readonly traced?: boolean;
  /** Before each case; false leaves it out. */
  readonly onCase?: (id: string) => boolean;
  readonly onFailure?: (id: string, reason: string) => void;
  readonly onUnsupported?: (id: string) => void;
}

/** Counts of passed, failed and unsupported cases. */
export interface ConformanceReport {
  readonly passed: number;
  readonly failed: number;
  readonly unsupported: number;
}

/**
 * Runs the cases of a folder one after the other, in float32. @throws FormatError where the folder has no readable
 * manifest; a case that throws has failed.
 */
export async function runConformance(options: ConformanceOptions): Promise<ConformanceReport> {
  const { device, files, filter } = options;
  const { cases } = await readGoldens(files);
  const tensors = new TensorFiles(files);
  const models = new Map<string, Promise<AnyModule>>();
  const { traced = false } = options;
  const call = traced ? callTraced(device) : callEagerly;
  const counts = { passed: 0, failed: 0, unsupported: 0 };
  // The reference computed in float32; a device's default may round convolutions to tf32.
  const { matmul, conv2d } = device.precision;
  Object.assign(device.precision, { matmul: 'float32', conv2d: 'float32' });
  try {
    for (const test of cases) {
      if (filter && !test.id.includes(filter)) continue;
      if (options.onCase?.(test.id) === false) continue;
      const outcome = await runCase(test, { device, files, tensors, call, traced }, models);
      if (outcome === 'passed' || outcome === 'unsupported') counts[outcome]++;
      else counts.failed++;
      if (outcome === 'unsupported') options.onUnsupported?.(test.id);
      else if (outcome !== 'passed') options.onFailure?.(test.id, outcome.failure);
    }
    return counts;
  } finally {
    Object.assign(device.precision, { matmul, conv2d });
    for (const model of models.values())
      await model.then(
        (m) => m.dispose(),
        () => {},
      );
  }
}

async function runCase(
  test: GoldenCase,
  setting: {
    readonly device: Device;
    readonly files: ModelFiles;
    readonly tensors: TensorFiles;
    readonly call: Call;
    readonly traced: boolean;
  },
  models: Map<string, Promise<AnyModule>>,
): Promise<'passed' | 'unsupported' | { failure: string }> {
  const runner = lookUp(runners, test.kind);
  if (!runner) return { failure: `case kind '${test.kind}' is not one this version understands` };
  const memory = new Scope();
  const { device, files, tensors } = setting;
  const context: CaseContext = {
    ...setting,
    test,
    memory,
    async input(name) {
      const t = await tensors.tensor(test, entryOf(test, name), device);
      memory.adopt(t);
      return t;
    },
    inputValues: async (name) => tensors.values(test, entryOf(test, name)),
    model: async (folder, className, weights) => {
      const key = `${test.model}/${folder}/${weights ?? 'fp32'}`;
      const known = models.get(key);
      if (known) return known;
      const variant = weights === 'fp16' ? { variant: 'fp16' } : {};
      const loading = loadModel(files, `models/${test.model}/${folder}`, className, { device, ...variant });
      models.set(key, loading);
      return loading;
    },
  };
  try {
    return await judge(test, await runner(context), tensors);
  } catch (error) {
    return { failure: (error as Error).message };
  } finally {
    memory.dispose();
  }
}

function entryOf(test: GoldenCase, name: string): NonNullable<GoldenCase['inputs']>[string] {
  const entry = test.inputs?.[name];
  if (!entry) throw new Error(`case has no input '${name}'`);
  return entry;
}

async function judge(
  test: GoldenCase,
  result: CaseResult,
  tensors: TensorFiles,
): Promise<'passed' | 'unsupported' | { failure: string }> {
  if (result === 'passed' || result === 'unsupported') return result;
  if ('failure' in result) return result;
  for (const [name, entry] of Object.entries(test.outputs ?? {})) {
    const got = result.get(name);
    if (!got) return { failure: `gives no '${name}'` };
    const tolerance = name === 'timesteps' ? exact : toleranceOf(test, name, 'f32');
    const reason = mismatch(got, await tensors.values(test, entry), tolerance);
    if (reason) return { failure: `${name}: ${reason}` };
  }
  return 'passed';
}
