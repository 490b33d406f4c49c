// The runs of the reference's own tests (diffusers, tests/schedulers): a model that scales its input by t / (t + 1), a
// sample and noise that count up and down, and what the absolute values of the result add up to.
import { cpu } from '@darkroom/backend-cpu';
import { mul, scope, tensor } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import { fullLoopTolerance } from '@darkroom/core/testing';
import { beforeAll, expect, test } from 'vitest';
import { TorchCpuGenerator } from '../random/torch-cpu-generator.ts';
import { schedulerFromConfig } from './from-config.ts';

interface Loop {
  readonly config?: Readonly<Record<string, unknown>>;
  /** Steps; default 10. */
  readonly n?: number;
  /** The step at which a noised sample starts; without it the run begins with the sample alone. */
  readonly start?: number;
}

let device: Device;
beforeAll(async () => {
  device = await cpu();
});

/** Counts through the batch first, then the width, height and channels: shape [4, 3, 8, 8], values from 0 to 1. */
const shape = [4, 3, 8, 8];
const size = 4 * 3 * 8 * 8;
const counted = (value: (k: number) => number): Tensor =>
  tensor(
    Float32Array.from({ length: size }, (_, i) => value((i % 192) * 4 + Math.floor(i / 192)) / size),
    { shape, device },
  );

/** The final sample's absolute values. */
function loop(className: string, { config = {}, n = 10, start }: Loop): Float32Array {
  const scheduler = schedulerFromConfig({ ...config, _class_name: `${className}Scheduler` });
  using schedule = scheduler.schedule({ numInferenceSteps: n });
  const generator = new TorchCpuGenerator(0);
  const noise = (): Tensor => tensor(generator.randn(size), { shape, device });
  return scope(() => {
    let x = mul(
      counted((k) => k),
      schedule.initNoiseSigma,
    );
    const begin = (start ?? 0) * schedule.order;
    if (start !== undefined)
      x = scheduler.addNoise(
        x,
        counted((k) => size - 1 - k),
        [schedule.timesteps[begin]!],
        schedule,
      );
    for (let i = begin; i < schedule.timesteps.length; i++) {
      x = schedule.scaleModelInput(x, i);
      const t = schedule.timesteps[i]!;
      x = schedule.step(mul(x, t / (t + 1)), i, x, { noise }).prevSample;
    }
    return (x.dataSync() as Float32Array).map(Math.abs);
  });
}

const linear = { beta_start: 0.0001, beta_end: 0.02, beta_schedule: 'linear' };
const long = { ...linear, num_train_timesteps: 1100 };
const v = { prediction_type: 'v_prediction' };
const karras = { use_karras_sigmas: true };
const pndm = { ...linear, beta_start: 0.01 };
const dpm = { ...linear, lower_order_final: false, final_sigmas_type: 'sigma_min' };
const unipc = { ...linear, final_sigmas_type: 'sigma_min' };
const lcm = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };
const every = { n: 1000 };

// Undefined if the reference's test names no sum.
const loops: readonly (readonly [string, Loop, sum: number | undefined, mean: number])[] = [
  ['DDIM', { config: linear }, 172.0067, 0.223967],
  ['DDIM', { config: { ...linear, ...v } }, 52.5302, 0.0684],
  ['DDIM', { config: { ...pndm, set_alpha_to_one: true } }, 149.8295, 0.1951],
  ['DDIM', { config: { ...pndm, set_alpha_to_one: false } }, 149.0784, 0.1941],
  ['DDIM', { config: linear, start: 8 }, 354.5418, 0.4616],
  ['DDPM', { config: linear, ...every }, 258.9606, 0.3372],
  ['DDPM', { config: { ...linear, ...v }, ...every }, 202.0296, 0.2631],
  ['DDPM', { config: linear, ...every, start: 998 }, 387.9466, 0.5051],
  ['PNDM', { config: linear }, 198.1318, 0.258],
  ['PNDM', { config: { ...linear, ...v } }, 67.3986, 0.0878],
  ['PNDM', { config: { ...pndm, set_alpha_to_one: true } }, 230.0399, 0.2995],
  ['PNDM', { config: { ...pndm, set_alpha_to_one: false } }, 186.9482, 0.2434],
  ['EulerDiscrete', { config: long }, 10.0807, 0.0131],
  ['EulerDiscrete', { config: { ...long, ...v } }, 0.0002, 2.2676e-6],
  ['EulerDiscrete', { config: { ...long, ...karras } }, 124.52299499511719, 0.16213932633399963],
  ['EulerDiscrete', { config: long, start: 8 }, 57062.9297, 74.3007],
  ['EulerAncestralDiscrete', { config: long }, 152.3192, 0.1983],
  ['EulerAncestralDiscrete', { config: { ...long, ...v } }, 108.4439, 0.1412],
  ['EulerAncestralDiscrete', { config: long, start: 8 }, 56163.0508, 73.129],
  ['HeunDiscrete', { config: long }, 0.1233, 0.0002],
  ['HeunDiscrete', { config: { ...long, ...v } }, 4.6934e-7, 6.1112e-10],
  ['HeunDiscrete', { config: { ...long, ...karras } }, 0.00015, 1.9869554535034695e-7],
  ['HeunDiscrete', { config: long, start: 8 }, 75074.8906, 97.7538],
  ['LMSDiscrete', { config: long }, 1006.388, 1.31],
  ['LMSDiscrete', { config: { ...long, ...v } }, 0.0017, 2.2676e-6],
  ['LMSDiscrete', { config: { ...long, ...karras } }, 3812.9927, 4.9648],
  ['LMSDiscrete', { config: long, start: 8 }, 27663.6895, 36.0204],
  ['DPMSolverMultistep', { config: dpm }, undefined, 0.3301],
  ['DPMSolverMultistep', { config: dpm, start: 5 }, 318.4111, 0.4146],
  [
    'DPMSolverMultistep',
    { config: { ...dpm, thresholding: true, dynamic_thresholding_ratio: 0.87, sample_max_value: 0.5 } },
    undefined,
    1.1364,
  ],
  ['DPMSolverMultistep', { config: { ...dpm, ...v } }, undefined, 0.2251],
  ['DPMSolverMultistep', { config: { ...dpm, ...v, ...karras } }, undefined, 0.2096],
  ['DPMSolverMultistep', { config: { ...dpm, ...v, use_lu_lambdas: true } }, undefined, 0.1554],
  ['UniPCMultistep', { config: unipc }, undefined, 0.2464],
  ['UniPCMultistep', { config: { ...unipc, ...karras } }, undefined, 0.2925],
  ['UniPCMultistep', { config: { ...unipc, ...v } }, undefined, 0.1014],
  ['UniPCMultistep', { config: { ...unipc, ...v, ...karras } }, undefined, 0.1966],
  ['UniPCMultistep', { config: unipc, start: 8 }, 315.5757, 0.4109],
  ['LCM', { config: lcm, n: 1 }, 18.7097, 0.0244],
  ['LCM', { config: lcm, n: 10 }, 197.7616, 0.2575],
];

test.each(loops)("%s %j ends where the reference's does", (className, run, sum, mean) => {
  const values = loop(className, run);
  const total = values.reduce((a, b) => a + b, 0);
  if (sum !== undefined) expect(Math.abs(total - sum) <= fullLoopTolerance.sum, `sum ${total}`).toBe(true);
  expect(Math.abs(total / size - mean) <= fullLoopTolerance.mean, `mean ${total / size}`).toBe(true);
});
