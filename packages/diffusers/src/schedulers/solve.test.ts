// Every sampler on a problem with a known answer: data is Gaussian, so the ideal model and the exact path are formulas.
// Deterministic methods must reach it at the rate of their order, stochastic ones must reproduce mean and deviation.
import { cpu } from '@darkroom/backend-cpu';
import { map, scope, tensor } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import { beforeAll, expect, test } from 'vitest';
import { TorchCpuGenerator } from '../random/torch-cpu-generator.ts';
import { schedulerFromConfig } from './from-config.ts';
import type { Schedule, Scheduler } from './scheduler.ts';

const [mean, deviation] = [0.3, 0.5];
const base = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };
let device: Device;
beforeAll(async () => {
  device = await cpu();
});

/** alpha and sigma of the samples at timesteps[i]: the schedule's own where it has levels. */
function mixAt(scheduler: Scheduler, schedule: Schedule, i: number): { alpha: number; sigma: number } {
  if (schedule.sigmas) {
    const level = schedule.sigmas[i]!;
    const exploding = schedule.initNoiseSigma !== 1;
    const alpha = exploding ? 1 : 1 / Math.sqrt(1 + level * level);
    return { alpha, sigma: level * alpha };
  }
  const p = scheduler.table.alphasCumprod[schedule.timesteps[i]!]!;
  return { alpha: Math.sqrt(p), sigma: Math.sqrt(1 - p) };
}

/** The ideal model: the expected noise (or x0, or v) given the sample. */
function model(sample: Tensor, { alpha, sigma }: { alpha: number; sigma: number }, type: string): Tensor {
  // noise = k (x - alpha·mean), x0 = (x - sigma·noise) / alpha, both linear in x: a·x + b.
  const k = sigma / (alpha * alpha * deviation * deviation + sigma * sigma);
  const [a, b] = [k, -k * alpha * mean];
  // v is defined for samples of unit variance; of an exploding sample it is that of the sample scaled down.
  const norm = Math.hypot(alpha, sigma);
  const [x0a, x0b] = [(1 - sigma * a) / alpha, (-sigma * b) / alpha];
  const [ca, cb] =
    type === 'epsilon'
      ? [a, b]
      : type === 'sample'
        ? [x0a, x0b]
        : [(alpha / norm) * a - (sigma / norm) * x0a, (alpha / norm) * b - (sigma / norm) * x0b];
  return map(['add', ['mul', ['in', 0], ['scalar', 0]], ['scalar', 1]], [sample], { scalars: [ca, cb] });
}

interface Run {
  readonly values: Float32Array;
  /** The mix of the samples at the last level. */
  readonly mix: { readonly alpha: number; readonly sigma: number };
}

/** Runs from the exact marginal of z to the end, or to where the last step would begin (`whole` false). */
function run(
  config: Record<string, unknown>,
  n: number,
  z: Float32Array,
  { eta = 0, whole = true } = {},
): Run {
  const scheduler = schedulerFromConfig({ ...base, ...config });
  const type = (scheduler.config['prediction_type'] as string | undefined) ?? 'epsilon';
  using schedule = scheduler.schedule({ numInferenceSteps: n });
  const noise = new TorchCpuGenerator(5);
  const shape = [1, 1, 1, z.length];
  const begin = mixAt(scheduler, schedule, 0);
  const spread = Math.hypot(begin.alpha * deviation, begin.sigma);
  let x = tensor(
    z.map((v) => begin.alpha * mean + spread * v),
    { shape, device },
  );
  const last = schedule.timesteps.length - 1;
  for (let i = 0; i < last + (whole ? 1 : 0); i++) {
    const next = scope(() => {
      const output = model(x, mixAt(scheduler, schedule, i), type);
      const draw = (): Tensor => tensor(noise.randn(z.length), { shape, device });
      return schedule.step(output, i, x, { eta, noise: draw, predOriginalSample: false }).prevSample;
    });
    x.dispose();
    x = next;
  }
  const values = x.dataSync() as Float32Array;
  x.dispose();
  return { values, mix: whole ? { alpha: 1, sigma: 0 } : mixAt(scheduler, schedule, last) };
}

const z = Float32Array.from({ length: 9 }, (_, i) => (i - 4) / 2);
/**
 * Largest distance from the exact path where the last step begins. (That step itself is of first order in all
 * classes: its error says nothing about the method.)
 */
function error(config: Record<string, unknown>, n: number): number {
  const { values, mix } = run(config, n, z, { whole: false });
  return Math.max(
    ...values.map((v, i) =>
      Math.abs(v - (mix.alpha * mean + Math.hypot(mix.alpha * deviation, mix.sigma) * z[i]!)),
    ),
  );
}

const toZero = { set_alpha_to_one: true, clip_sample: false, timestep_spacing: 'trailing' };
const dpm = { _class_name: 'DPMSolverMultistepScheduler', timestep_spacing: 'trailing' };
const unipc = { _class_name: 'UniPCMultistepScheduler', timestep_spacing: 'trailing' };
const noisePredicting = { algorithm_type: 'dpmsolver', final_sigmas_type: 'sigma_min' };
const cases: readonly (readonly [string, Record<string, unknown>, number])[] = [
  ['DDIM', { _class_name: 'DDIMScheduler', ...toZero }, 0.05],
  ['DDIM v', { _class_name: 'DDIMScheduler', ...toZero, prediction_type: 'v_prediction' }, 0.05],
  ['DDIM sample', { _class_name: 'DDIMScheduler', ...toZero, prediction_type: 'sample' }, 0.05],
  ['PNDM', { _class_name: 'PNDMScheduler', ...toZero, skip_prk_steps: true }, 0.002],
  [
    'PNDM with Runge-Kutta',
    { _class_name: 'PNDMScheduler', ...toZero, prediction_type: 'v_prediction' },
    0.04,
  ],
  ['Euler', { _class_name: 'EulerDiscreteScheduler' }, 0.08],
  ['Euler v', { _class_name: 'EulerDiscreteScheduler', prediction_type: 'v_prediction' }, 0.08],
  ['Euler Karras', { _class_name: 'EulerDiscreteScheduler', use_karras_sigmas: true }, 0.06],
  ['Euler beta', { _class_name: 'EulerDiscreteScheduler', use_beta_sigmas: true }, 0.2],
  ['LMS', { _class_name: 'LMSDiscreteScheduler' }, 0.0006],
  ['LMS sample', { _class_name: 'LMSDiscreteScheduler', prediction_type: 'sample' }, 0.0006],
  ['Heun', { _class_name: 'HeunDiscreteScheduler' }, 0.003],
  ['DPM++ 1', { ...dpm, solver_order: 1 }, 0.05],
  ['DPM++ 2 midpoint', dpm, 0.007],
  ['DPM++ 2 heun', { ...dpm, solver_type: 'heun' }, 0.008],
  ['DPM++ 3', { ...dpm, solver_order: 3 }, 0.002],
  ['DPM++ 2 v', { ...dpm, prediction_type: 'v_prediction' }, 0.007],
  ['DPM++ 2 Karras', { ...dpm, use_karras_sigmas: true }, 0.004],
  ['DPM++ 2 Lu', { ...dpm, use_lu_lambdas: true }, 0.002],
  ['DPM 1', { ...dpm, ...noisePredicting, solver_order: 1 }, 0.05],
  ['DPM 2 midpoint', { ...dpm, ...noisePredicting }, 0.003],
  ['DPM 2 heun', { ...dpm, ...noisePredicting, solver_type: 'heun' }, 0.0008],
  ['DPM 3', { ...dpm, ...noisePredicting, solver_order: 3 }, 0.0008],
  ['DPM 2 sample', { ...dpm, ...noisePredicting, prediction_type: 'sample' }, 0.003],
  ['UniPC 1', { ...unipc, solver_order: 1 }, 0.02],
  ['UniPC 2', unipc, 0.005],
  ['UniPC 3', { ...unipc, solver_order: 3 }, 0.004],
  ['UniPC 2 bh1', { ...unipc, solver_type: 'bh1' }, 0.008],
  ['UniPC 2 of noise', { ...unipc, predict_x0: false, final_sigmas_type: 'sigma_min' }, 0.003],
  [
    'UniPC 2 of noise, v',
    { ...unipc, predict_x0: false, final_sigmas_type: 'sigma_min', prediction_type: 'v_prediction' },
    0.003,
  ],
];

// Tolerances: half as much again as measured. First order leaves about 3e-2 in 50 steps, second 4e-3, third 1e-3.
test.each(cases)('%s follows the exact path', (_, config, tolerance) => {
  const distance = error(config, 50); // divides 1000: all timesteps are equally spaced, as PNDM assumes
  expect(distance <= tolerance, `error ${distance}`).toBe(true);
});

test('higher orders are better', () => {
  const orders = [1, 2, 3].map((solver_order) =>
    error({ ...dpm, solver_order, use_karras_sigmas: true }, 30),
  );
  expect(orders[1]! < orders[0]! / 2, `${orders}`).toBe(true);
  expect(orders[2]! < orders[0]! / 2, `${orders}`).toBe(true);
});

const stochastic: readonly (readonly [string, Record<string, unknown>, number])[] = [
  ['DDPM', { _class_name: 'DDPMScheduler', clip_sample: false }, 0],
  [
    'DDPM large variance',
    { _class_name: 'DDPMScheduler', clip_sample: false, variance_type: 'fixed_large_log' },
    0,
  ],
  ['DDIM eta 1', { _class_name: 'DDIMScheduler', ...toZero }, 1],
  ['Euler ancestral', { _class_name: 'EulerAncestralDiscreteScheduler' }, 0],
  [
    'Euler ancestral v',
    { _class_name: 'EulerAncestralDiscreteScheduler', prediction_type: 'v_prediction' },
    0,
  ],
  ['SDE-DPM++ 1', { ...dpm, algorithm_type: 'sde-dpmsolver++', solver_order: 1 }, 0],
  ['SDE-DPM++ 2', { ...dpm, algorithm_type: 'sde-dpmsolver++' }, 0],
  ['SDE-DPM++ 2 heun', { ...dpm, algorithm_type: 'sde-dpmsolver++', solver_type: 'heun' }, 0],
  ['SDE-DPM 1', { ...dpm, ...noisePredicting, algorithm_type: 'sde-dpmsolver', solver_order: 1 }, 0],
  ['SDE-DPM 2', { ...dpm, ...noisePredicting, algorithm_type: 'sde-dpmsolver' }, 0],
];

test.each(stochastic)('%s gives the mean and deviation of the data', (_, config, eta) => {
  const count = 20000;
  const { values } = run(config, 100, new TorchCpuGenerator(1).randn(count) as Float32Array, { eta });
  const average = values.reduce((a, b) => a + b, 0) / count;
  const spread = Math.sqrt(values.reduce((a, b) => a + (b - average) ** 2, 0) / count);
  expect(Math.abs(average - mean) <= 0.02, `mean ${average}`).toBe(true);
  expect(Math.abs(spread - deviation) <= 0.04, `deviation ${spread}`).toBe(true);
});

test('nothing of a run stays on the device', () => {
  const before = device.memory().live;
  for (const [, config] of [...cases, ...stochastic]) run(config, 5, z);
  expect(device.memory().live).toBe(before);
});
