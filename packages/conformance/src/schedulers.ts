// Cases of kinds scheduler_trace, scheduler_add_noise, scheduler_table, timestep_tables.

import { mul } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { schedulerFromConfig } from '@darkroom/diffusers';
import type { ScheduleOptions, Scheduler, StepOptions } from '@darkroom/diffusers';
import { lookUp, noiseTables } from '@darkroom/diffusers/testing';
import type { CaseContext, CaseResult } from './context.ts';

interface TraceParams {
  readonly config: Record<string, unknown>;
  readonly num_inference_steps: number;
  readonly step_kwargs: Readonly<Record<string, unknown>>;
  readonly start_index: number;
  /** Custom schedules, in place of a number of steps. */
  readonly timesteps?: readonly number[];
  readonly sigmas?: readonly number[];
}

/** The reference's names of step arguments. */
const stepNames: Readonly<Record<string, keyof StepOptions>> = {
  eta: 'eta',
  use_clipped_model_output: 'useClippedModelOutput',
  order: 'order',
  s_churn: 'sChurn',
  s_tmin: 'sTmin',
  s_tmax: 'sTmax',
  s_noise: 'sNoise',
};

function stepOptions(kwargs: Readonly<Record<string, unknown>>): StepOptions {
  const options: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(kwargs)) {
    const name = lookUp(stepNames, key);
    if (!name) throw new Error(`step argument '${key}' is not one this version knows`);
    options[name] = value;
  }
  return options;
}

function scheduleOptions(p: TraceParams): ScheduleOptions {
  if (p.timesteps) return { timesteps: p.timesteps };
  return p.sigmas ? { sigmas: p.sigmas } : { numInferenceSteps: p.num_inference_steps };
}

function schedulerOf(context: CaseContext): Scheduler {
  const { config } = context.test.params as unknown as TraceParams;
  return schedulerFromConfig({ ...config, _class_name: context.test.scheduler! }, context.test.id);
}

/** The i-th of a stack of tensors, [k, ...] → [...]. */
const nth = (stack: Tensor, i: number): Tensor => stack.slice(0, i, i + 1).view(stack.shape.slice(1));

export async function runSchedulerTrace(context: CaseContext): Promise<CaseResult> {
  const { test } = context;
  const p = test.params as unknown as TraceParams;
  const schedule = schedulerOf(context).schedule(scheduleOptions(p));
  const [modelOutputs, noises, sample0] = [
    await context.input('model_outputs'),
    await context.input('noises'),
    await context.input('sample0'),
  ];
  const begin = p.start_index * schedule.order;
  const out = new Map<string, number[]>([
    ['timesteps', [...schedule.timesteps.slice(begin)]],
    ['samples', []],
  ]);
  if (test.outputs!['sigmas']) out.set('sigmas', [...schedule.sigmas!]);
  const put = async (name: string, t: Tensor | undefined): Promise<void> => {
    if (!test.outputs![name]) return;
    if (!t) throw new Error(`the scheduler gives no ${name}`);
    out.set(name, [...(out.get(name) ?? []), ...(await t.data())]);
  };
  let sample = context.memory.run(() => startOf(context, p, schedule, sample0, noises, begin));
  let used = 0;
  for (let i = begin; i < schedule.timesteps.length; i++) {
    const current = sample;
    await put(
      'scaled_inputs',
      context.memory.run(() => schedule.scaleModelInput(current, i)),
    );
    const stepped = context.memory.run(() =>
      schedule.step(nth(modelOutputs, i - begin), i, sample, {
        ...stepOptions(p.step_kwargs),
        noise: () => nth(noises, used++),
      }),
    );
    sample = stepped.prevSample;
    await put('samples', sample);
    await put('pred_x0', stepped.predOriginalSample);
  }
  schedule.dispose();
  const expected = (test.params as { noises_used?: number }).noises_used;
  if (expected !== undefined && used !== expected)
    return { failure: `drew noise ${used} times, the reference ${expected}` };
  return out;
}

function startOf(
  context: CaseContext,
  p: TraceParams,
  schedule: ReturnType<Scheduler['schedule']>,
  sample0: Tensor,
  noises: Tensor,
  begin: number,
): Tensor {
  if (begin > 0) {
    schedule.setBeginIndex(begin);
    const t = schedule.timesteps[begin]!;
    return schedulerOf(context).addNoise(
      sample0,
      nth(noises, 127),
      Array.from({ length: sample0.shape[0]! }, () => t),
      schedule,
    );
  }
  return mul(sample0, schedule.initNoiseSigma);
}

export async function runAddNoise(context: CaseContext): Promise<CaseResult> {
  const { test } = context;
  const scheduler = schedulerOf(context);
  const [x, noise] = [await context.input('x'), await context.input('noise')];
  const timesteps = [...(await context.inputValues('timesteps'))];
  const schedule = scheduler.schedule(scheduleOptions(test.params as unknown as TraceParams));
  const out = new Map<string, ArrayLike<number>>();
  out.set('noisy', await context.memory.run(() => scheduler.addNoise(x, noise, timesteps, schedule)).data());
  if (test.outputs!['velocity'])
    out.set('velocity', await context.memory.run(() => scheduler.getVelocity(x, noise, timesteps)).data());
  schedule.dispose();
  return out;
}

export async function runSchedulerTable(context: CaseContext): Promise<CaseResult> {
  const { config } = context.test.params as unknown as TraceParams;
  // A class may set the last product of a rescaled table by itself.
  const { betas, alphasCumprod } = context.test.scheduler ? schedulerOf(context).table : noiseTables(config);
  return new Map([
    ['betas', betas],
    ['alphas_cumprod', alphasCumprod],
  ]);
}

/** 'Class|spacing|offsetK|nN' → the exact list, or { raises }. */
export async function runTimestepTables(context: CaseContext): Promise<CaseResult> {
  const tables = JSON.parse(await context.files.readText(context.test.file)) as Record<
    string,
    number[] | { raises: string }
  >;
  const wrong: string[] = [];
  for (const [key, want] of Object.entries(tables)) {
    const [className, spacing, offset, n] = key.split('|') as [string, string, string, string];
    const got = timestepsOf(
      className,
      spacing,
      Number(offset.replace(/\D+/, '')),
      Number(n.replace(/\D+/, '')),
    );
    const ok = Array.isArray(want)
      ? Array.isArray(got) &&
        got.length === want.length &&
        got.every((v, i) => Math.fround(v) === Math.fround(want[i]!))
      : !Array.isArray(got);
    if (!ok)
      wrong.push(
        `${key}: ${JSON.stringify(got).slice(0, 120)}, reference ${JSON.stringify(want).slice(0, 120)}`,
      );
  }
  const count = Object.keys(tables).length;
  return wrong.length === 0
    ? 'passed'
    : { failure: `${wrong.length} of ${count} tables differ; ${wrong[0]}` };
}

function timestepsOf(
  className: string,
  spacing: string,
  offset: number,
  n: number,
): readonly number[] | { raises: string } {
  const config = {
    _class_name: className,
    beta_start: 0.00085,
    beta_end: 0.012,
    beta_schedule: 'scaled_linear',
    timestep_spacing: spacing,
    steps_offset: offset,
    ...(className === 'PNDMScheduler' && { skip_prk_steps: true }),
  };
  try {
    const schedule = schedulerFromConfig(config, className).schedule({ numInferenceSteps: n });
    schedule.dispose();
    return schedule.timesteps;
  } catch (error) {
    return { raises: (error as Error).message };
  }
}
