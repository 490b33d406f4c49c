// Every scheduler beside Python's diffusers: runs over configs that cover each class's settings in pairs, and every
// class made from the config of every other. The tables and the script that computed them are in fixtures/schedulers.
import { readFileSync } from 'node:fs';
import { cpu } from '@darkroom/backend-cpu';
import { concat, log, mul, scope, tensor } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import { firstMismatch, schedulerTolerance } from '@darkroom/core/testing';
import type { Tolerance } from '@darkroom/core/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { schedulerClasses, schedulerFromConfig } from './from-config.ts';
import type { Schedule, Scheduler, SchedulerConfig, StepOptions } from './scheduler.ts';

interface RunCase {
  readonly class: string;
  readonly config: SchedulerConfig;
  readonly n?: number;
  readonly timesteps?: readonly number[];
  readonly sigmas?: readonly number[];
  readonly start: number;
  readonly call: Readonly<Record<string, number | boolean>>;
  readonly want: RunResult & { readonly refused?: string; readonly why?: string };
}
interface RunResult {
  readonly timesteps: readonly number[];
  readonly noises: number;
  /** Float32 in base64. */
  readonly samples: string;
  readonly scaled: string;
  readonly noisy: string;
  readonly predicted?: string;
  readonly sigmas?: string;
}
interface Conversion {
  readonly from: string;
  readonly to: string;
  readonly config: SchedulerConfig;
  readonly file: SchedulerConfig;
  readonly memory: ConversionResult | null;
  readonly saved: ConversionResult;
}
interface ConversionResult {
  readonly refused?: string;
  readonly config: SchedulerConfig;
  readonly timesteps: readonly number[];
}

/** JSON has no infinities: the fixture spells them as Python does. */
const read = (name: string): unknown =>
  JSON.parse(
    readFileSync(new URL(`../../../../fixtures/schedulers/${name}.json`, import.meta.url), 'utf8'),
    (_, value: unknown) => (value === '-inf' ? -Infinity : value),
  );
const floats = (text: string): Float32Array => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
};

const runs = read('runs') as {
  readonly shape: readonly number[];
  readonly bank: Readonly<Record<'outputs' | 'variances' | 'noises' | 'start', string>>;
  readonly cases: readonly RunCase[];
};
const { shape } = runs;
const size = shape.reduce((a, b) => a * b);
let device: Device;
const { warn } = log;
beforeAll(async () => {
  device = await cpu();
  log.warn = () => undefined; // foreign keys are told of in config.test.ts
});
afterAll(() => {
  log.warn = warn;
});

const bank = Object.fromEntries(Object.entries(runs.bank).map(([k, v]) => [k, floats(v)]));
const recorded = (name: string, i: number): Tensor =>
  tensor(bank[name]!.slice(i * size, (i + 1) * size), { shape: [...shape], device });

const callNames: Readonly<Record<string, keyof StepOptions>> = {
  eta: 'eta',
  use_clipped_model_output: 'useClippedModelOutput',
  order: 'order',
  s_churn: 'sChurn',
  s_tmin: 'sTmin',
  s_tmax: 'sTmax',
  s_noise: 'sNoise',
};

interface Ran {
  readonly timesteps: readonly number[];
  readonly sigmas: readonly number[] | undefined;
  readonly scaled: Tensor;
  readonly noisy: Tensor;
  readonly samples: readonly Tensor[];
  readonly predicted: Tensor | undefined;
  readonly noises: number;
}

/** The run that make.py describes. */
function runCase(c: RunCase): Ran {
  const scheduler = schedulerFromConfig({ ...c.config, _class_name: `${c.class}Scheduler` });
  using schedule = scheduler.schedule(
    c.timesteps ? { timesteps: c.timesteps } : c.sigmas ? { sigmas: c.sigmas } : { numInferenceSteps: c.n! },
  );
  const { timesteps } = schedule;
  const [clean, noise] = [recorded('start', 0), recorded('noises', 39)];
  const noisy = scheduler.addNoise(clean, noise, [timesteps[Math.floor(timesteps.length / 2)]!], schedule);
  const begin = c.start * schedule.order;
  let sample = startAt(scheduler, schedule, begin, clean, noise);
  const scaled = schedule.scaleModelInput(sample, begin);
  const type = c.config['prediction_type'] ?? 'epsilon';
  const learned =
    String(c.config['variance_type']).startsWith('learned') && (c.class === 'DDPM' || type === 'epsilon');
  const samples: Tensor[] = [];
  let predicted: Tensor | undefined;
  let noises = 0;
  const options: StepOptions = {
    ...Object.fromEntries(Object.entries(c.call).map(([k, v]) => [callNames[k]!, v])),
    noise: () => recorded('noises', noises++),
  };
  for (let i = begin; i < timesteps.length; i++) {
    const plain = recorded('outputs', i - begin);
    const output = learned ? concat([plain, recorded('variances', i - begin)], 1) : plain;
    const result = schedule.step(output, i, sample, options);
    sample = result.prevSample;
    predicted = result.predOriginalSample;
    samples.push(sample);
  }
  return { timesteps, sigmas: schedule.sigmas, scaled, noisy, samples, predicted, noises };
}

function startAt(
  scheduler: Scheduler,
  schedule: Schedule,
  begin: number,
  clean: Tensor,
  noise: Tensor,
): Tensor {
  if (begin === 0) return mul(clean, schedule.initNoiseSigma);
  schedule.setBeginIndex(begin);
  return scheduler.addNoise(clean, noise, [schedule.timesteps[begin]!], schedule);
}

/** PNDM divides by the signal at each timestep, of which the cosine schedule leaves next to nothing at its end. */
function inverseSignal(c: RunCase, { timesteps }: Ran): number {
  if (c.class !== 'PNDM') return 1;
  const { table } = schedulerFromConfig({ ...c.config, _class_name: 'PNDMScheduler' });
  return Math.min(1 / Math.sqrt(table.alphasCumprod[timesteps[0]!]!), 100);
}

/** Timesteps that are looked up in a table of logarithms, and then cut to integers by the solvers. */
function timestepTolerance(name: string, config: SchedulerConfig): Tolerance {
  const cut = config['use_exponential_sigmas'] === true || config['use_beta_sigmas'] === true;
  // A last bit of a logarithm can put 38.99999 in place of 39.
  if (cut && (name === 'UniPCMultistep' || name === 'DPMSolverMultistep')) return { atol: 1, rtol: 0 };
  return schedulerTolerance(1000, config['rescale_betas_zero_snr'] === true);
}

/** Configs that the reference constructs and this library refuses, with the reason. */
const strict: readonly [string, (c: { class: string; config: SchedulerConfig }) => boolean][] = [
  [
    'sde-dpmsolver has no third-order step: the reference fails at the first one, if a run is that long',
    (c) => c.config['algorithm_type'] === 'sde-dpmsolver' && c.config['solver_order'] === 3,
  ],
  [
    'no step of these takes a prediction of the sample',
    (c) => c.config['prediction_type'] === 'sample' && /^(PNDM|EulerAncestralDiscrete)$/.test(c.class),
  ],
];
const weAreStrict = (c: { class: string; config: SchedulerConfig }): boolean =>
  strict.some(([, applies]) => applies(c));

/** The difference from the reference, or undefined. A case that the reference refuses must be refused, or be finite. */
function difference(c: RunCase): string | undefined {
  return scope(() => {
    let ran: Ran;
    try {
      ran = runCase(c);
    } catch (error) {
      if (c.want.refused !== undefined || weAreStrict(c)) return undefined;
      return `refused: ${(error as Error).message}`;
    }
    const last = ran.samples.slice(-3).flatMap((s) => [...s.dataSync()]);
    // If the reference gives no numbers, or another number of steps than asked for, ours must be finite.
    if (c.want.refused === 'not finite' || c.want.refused === 'count')
      return last.every(Number.isFinite) ? undefined : 'not finite';
    if (c.want.refused !== undefined)
      return `runs, but the reference refused (${c.want.refused}: ${c.want.why})`;
    const { want } = c;
    if (ran.noises !== want.noises) return `draws ${ran.noises} noises for ${want.noises}`;
    const rescaled = c.config['rescale_betas_zero_snr'] === true;
    const scale = Math.max(
      1,
      ...floats(want.samples).map(Math.abs),
      ...(ran.sigmas ?? [inverseSignal(c, ran)]),
    );
    const compare = (
      name: string,
      got: ArrayLike<number>,
      wanted: ArrayLike<number>,
      t = schedulerTolerance(scale, rescaled),
    ): string | undefined => {
      const at = firstMismatch(got, wanted, t);
      return at < 0
        ? undefined
        : `${name}[${at}] is ${got[at]} for ${wanted[at]} (of ${got.length} for ${wanted.length})`;
    };
    return (
      compare('timesteps', ran.timesteps, want.timesteps, timestepTolerance(c.class, c.config)) ??
      (want.sigmas === undefined ? undefined : compare('sigmas', ran.sigmas!, floats(want.sigmas))) ??
      compare('noisy', ran.noisy.dataSync(), floats(want.noisy)) ??
      compare('scaled', ran.scaled.dataSync(), floats(want.scaled)) ??
      compare('samples', last, floats(want.samples)) ??
      (want.predicted === undefined
        ? undefined
        : compare('predicted', ran.predicted!.dataSync(), floats(want.predicted)))
    );
  });
}

test.each(Object.keys(schedulerClasses))('%s runs as the reference, over pairs of settings', (name) => {
  const cases = runs.cases.filter((c) => `${c.class}Scheduler` === name);
  expect(cases.length).toBeGreaterThan(30);
  const wrong = cases.flatMap((c) => {
    const what = difference(c);
    const given = { ...c, want: undefined };
    return what === undefined ? [] : [`${what}: ${JSON.stringify(given)}`];
  });
  expect(wrong).toEqual([]);
});

/** The difference of a conversion from the reference, or undefined. */
function conversionDifference(
  c: Conversion,
  config: SchedulerConfig,
  want: ConversionResult,
): string | undefined {
  let scheduler: Scheduler;
  let timesteps: readonly number[];
  try {
    scheduler = schedulerFromConfig({ ...config, _class_name: `${c.to}Scheduler` });
    using schedule = scheduler.schedule({ numInferenceSteps: 7 });
    ({ timesteps } = schedule);
  } catch (error) {
    if (want.refused !== undefined || weAreStrict({ class: c.to, config })) return undefined;
    return `refused: ${(error as Error).message}`;
  }
  if (want.refused === 'not finite') return undefined;
  // The reference reads DEIS' algorithm as dpmsolver++, but checks the old name first.
  if (want.refused !== undefined && config['algorithm_type'] === 'deis') return undefined;
  if (want.refused !== undefined) return `made, but the reference refused: ${want.refused}`;
  for (const [key, value] of Object.entries(want.config)) {
    const got = scheduler.config[key];
    // By text: -Infinity and lists are compared by value.
    if (String(got) !== String(value)) return `${key} is ${String(got)} for ${String(value)}`;
  }
  const at = firstMismatch(timesteps, want.timesteps, timestepTolerance(c.to, config));
  return at < 0 ? undefined : `timesteps[${at}] is ${timesteps[at]} for ${want.timesteps[at]}`;
}

test('every class is made from the config of every other as in the reference', () => {
  const { cases } = read('conversions') as { readonly cases: readonly Conversion[] };
  const pairs = new Set(cases.filter((c) => c.memory).map((c) => `${c.from} ${c.to}`));
  expect(pairs.size).toBe(Object.keys(schedulerClasses).length ** 2);
  const wrong: string[] = [];
  for (const c of cases) {
    const report = (how: string, config: SchedulerConfig, want: ConversionResult): void => {
      const what = conversionDifference(c, config, want);
      if (what !== undefined)
        wrong.push(`${c.to} from ${c.from} ${JSON.stringify(c.config)} (${how}): ${what}`);
    };
    report('file', c.file, c.saved);
    if (!c.memory) continue;
    const { config } = schedulerFromConfig({ ...c.config, _class_name: `${c.from}Scheduler` });
    report('object', config, c.memory);
  }
  expect(wrong).toEqual([]);
});
