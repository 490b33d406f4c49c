import fc from 'fast-check';
import { cpu } from '@darkroom/backend-cpu';
import { scope, tensor } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import { beforeAll, expect, test } from 'vitest';
import { betaCumulative, betaQuantile } from './beta-distribution.ts';
import { schedulerClasses, schedulerFromConfig } from './from-config.ts';
import type { Schedule } from './scheduler.ts';
import { quantile } from './threshold.ts';

const base = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };
const make = (name: string, config: object = {}): ReturnType<typeof schedulerFromConfig> =>
  schedulerFromConfig({ ...base, ...config, _class_name: `${name}Scheduler` });
let device: Device;
beforeAll(async () => {
  device = await cpu();
});
const values = (n: number, seed = 0): Tensor =>
  tensor(
    Float32Array.from({ length: n }, (_, i) => Math.sin(i + seed)),
    { shape: [1, n, 1, 1], device },
  );
const close = (got: ArrayLike<number>, want: readonly number[], atol: number): void => {
  expect(got.length).toBe(want.length);
  want.forEach((w, i) => expect(Math.abs(got[i]! - w) <= atol, `[${i}] ${got[i]} for ${w}`).toBe(true));
};

test('custom timesteps where the class has them', () => {
  expect(make('DDPM').schedule({ timesteps: [900, 500, 10] }).timesteps).toEqual([900, 500, 10]);
  expect(make('DPMSolverMultistep').schedule({ timesteps: [900, 500, 10] }).timesteps).toEqual([
    900, 500, 10,
  ]);
  expect(make('HeunDiscrete').schedule({ timesteps: [900, 500, 10] }).timesteps).toEqual([
    900, 500, 500, 10, 10,
  ]);
  expect(make('LCM').schedule({ timesteps: [999, 499] }).timesteps).toEqual([999, 499]);
  expect(make('EulerDiscrete').schedule({ timesteps: [900.5, 10] }).timesteps).toEqual([900.5, 10]);
});

test('custom sigmas come with the final one, and map back to timesteps', () => {
  const plain = make('EulerDiscrete').schedule({ numInferenceSteps: 4 });
  const again = make('EulerDiscrete').schedule({ sigmas: plain.sigmas! });
  close(again.timesteps, [...plain.timesteps], 1e-2);
  expect(again.sigmas).toEqual(plain.sigmas);
});

test.each([
  ['DDIM', { timesteps: [1] }, 'DDIMScheduler: does not support custom timesteps; give numInferenceSteps'],
  ['UniPCMultistep', { sigmas: [1, 0] }, 'does not support custom sigmas; give numInferenceSteps'],
  ['DDPM', { sigmas: [1, 0] }, 'does not support custom sigmas (only timesteps); give numInferenceSteps'],
  ['DDPM', { timesteps: [5, 5] }, 'timesteps must fall, but timesteps[1] is 5 after 5'],
  ['DDPM', { timesteps: [1000] }, 'timesteps[0] must be an integer from 0 to 999, got 1000'],
  ['DDPM', { timesteps: [] }, 'timesteps must not be empty'],
  ['EulerDiscrete', { sigmas: [1, 2, 0] }, 'sigmas must fall, but sigmas[1] is 2 after 1'],
  ['EulerDiscrete', { sigmas: [1] }, 'sigmas must hold at least 2 levels, the final one included, got 1'],
  ['EulerDiscrete', { sigmas: [1, 0], timesteps: [1] }, 'give timesteps or sigmas, not both'],
  [
    'EulerDiscrete',
    { sigmas: [1, 0], numInferenceSteps: 3 },
    'sigmas make 1 steps but numInferenceSteps is 3; leave it out',
  ],
] as const)('%s: %j is refused', (name, options, message) => {
  expect(() => make(name).schedule(options)).toThrow(message);
});

test('LCM keeps to the timesteps of distillation', () => {
  expect(make('LCM').schedule({ numInferenceSteps: 4 }).timesteps).toEqual([999, 759, 499, 259]);
  expect(() => make('LCM').schedule({ numInferenceSteps: 51 })).toThrow(
    'numInferenceSteps must be at most 50',
  );
  expect(make('LCM').schedule({ numInferenceSteps: 60, originalInferenceSteps: 100 }).timesteps.length).toBe(
    60,
  );
  expect(() => make('LCM').schedule({ numInferenceSteps: 4, strength: 0 })).toThrow(
    'strength must be above 0',
  );
});

test('one scheduler serves interleaved calls', () => {
  for (const name of Object.keys(schedulerClasses)) {
    const scheduler = schedulerFromConfig({ ...base, _class_name: name, skip_prk_steps: true });
    const noise = (): Tensor => values(4, 9);
    const steps = (schedule: Schedule, from: Tensor, count: number, start = 0): Tensor => {
      let x = from;
      for (let i = start; i < start + count; i++) x = schedule.step(values(4, i), i, x, { noise }).prevSample;
      return x;
    };
    const alone = steps(scheduler.schedule({ numInferenceSteps: 10 }), values(4), 6).dataSync();
    const [a, b] = [
      scheduler.schedule({ numInferenceSteps: 10 }),
      scheduler.schedule({ numInferenceSteps: 7 }),
    ];
    const half = steps(a, values(4), 3);
    steps(b, values(4, 5), 4);
    expect([...steps(a, half, 3, 3).dataSync()]).toEqual([...alone]);
  }
});

test('history outlives the scope and the tensors of the caller', () => {
  for (const name of ['PNDM', 'LMSDiscrete', 'HeunDiscrete', 'DPMSolverMultistep', 'UniPCMultistep']) {
    using schedule = make(name, { skip_prk_steps: true }).schedule({ numInferenceSteps: 8 });
    let x = values(4);
    for (let i = 0; i < 6; i++) {
      const next = scope(() => schedule.step(values(4, i), i, x).prevSample);
      x.dispose();
      x = next;
    }
    expect([...x.dataSync()].every(Number.isFinite)).toBe(true);
    x.dispose();
  }
});

test('misuse is named', () => {
  const schedule = make('DPMSolverMultistep').schedule({ numInferenceSteps: 5 });
  expect(() => schedule.step(values(4), 5, values(4))).toThrow(
    'DPMSolverMultistepScheduler: step index must be an integer from 0 to 4, got 5',
  );
  expect(() => schedule.step(values(3), 0, values(4))).toThrow(
    'model output [1,3,1,1] must have the shape of the sample [1,4,1,1]',
  );
  schedule.step(values(4), 0, values(4));
  expect(() => schedule.step(values(4), 2, values(4))).toThrow(
    'steps must follow each other: index 1 is due, got 2',
  );
  const ddpm = make('DDPM').schedule({ numInferenceSteps: 5 });
  expect(() => ddpm.step(values(4), 0, values(4))).toThrow(
    'DDPMScheduler: this step adds noise; pass options.noise',
  );
  const ddim = make('DDIM').schedule({ numInferenceSteps: 5 });
  expect(() => ddim.step(values(4), 0, values(4), { eta: 2 })).toThrow('eta must be from 0 to 1, got 2');
  expect(() => make('PNDM').schedule({ numInferenceSteps: 3 })).toThrow(
    'numInferenceSteps must be at least 4 with skip_prk_steps false, got 3',
  );
});

test('addNoise takes one timestep or one for each item', () => {
  const scheduler = make('DDIM');
  const [x, e] = [values(2).view([2, 1]), values(2, 3).view([2, 1])];
  const both = scheduler.addNoise(x, e, [10, 700]).dataSync();
  expect(both[0]).toBe(scheduler.addNoise(x, e, [10]).dataSync()[0]);
  expect(both[1]).toBe(scheduler.addNoise(x, e, [700, 700]).dataSync()[1]);
  expect(() => scheduler.addNoise(x, e, [1, 2, 3])).toThrow('3 timesteps for a batch of 2');
  expect(() => scheduler.addNoise(x, e, [1000])).toThrow(
    'timestep must be an integer from 0 to 999, got 1000',
  );
  expect(() => make('EulerDiscrete').addNoise(x, e, [1])).toThrow('addNoise needs the schedule');
  const euler = make('EulerDiscrete');
  expect(() => euler.addNoise(x, e, [1.5], euler.schedule({ numInferenceSteps: 5 }))).toThrow(
    'timestep 1.5 is not in the schedule',
  );
});

test('DDPM with learned variance reads the second half of the channels', () => {
  for (const variance_type of ['learned', 'learned_range']) {
    const schedule = make('DDPM', { variance_type, clip_sample: false }).schedule({ numInferenceSteps: 5 });
    const out = tensor(Float32Array.of(0.1, 0.2, 0.5, 0.5), { shape: [1, 4, 1, 1], device });
    const { prevSample } = schedule.step(out, 0, values(2), { noise: () => values(2, 1) });
    expect(prevSample.shape).toEqual([1, 2, 1, 1]);
    expect(() => schedule.step(values(2), 0, values(2))).toThrow(
      `variance_type '${variance_type}' needs 4 output channels, got 2`,
    );
  }
});

test('beta quantiles invert the cumulative function, and match tabled values', () => {
  for (const x of [0.001, 0.2, 0.5, 0.8, 0.999])
    expect(Math.abs(betaCumulative(betaQuantile(x, 0.6, 0.6), 0.6, 0.6) - x) <= 1e-12).toBe(true);
  close(
    [0.01, 0.3, 0.9].map((p) => betaQuantile(p, 0.6, 0.6)),
    [0.0008612388215429, 0.2340170038752357, 0.9604155944112192],
    1e-12,
  );
});

test('the quantile of random rows is that of their sorted values', async () => {
  const row = fc.array(fc.oneof(fc.double({ min: 0, max: 4, noNaN: true }), fc.constantFrom(0, 1, 2)), {
    minLength: 1,
    maxLength: 40,
  });
  await fc.assert(
    fc.asyncProperty(row, fc.double({ min: 0, max: 1, noNaN: true }), async (numbers, q) => {
      const given = Float32Array.from(numbers);
      const sorted = given.toSorted();
      const at = Math.fround(q * (sorted.length - 1));
      const [a, b] = [sorted[Math.floor(at)]!, sorted[Math.min(Math.floor(at) + 1, sorted.length - 1)]!];
      const both = Float32Array.of(...given, ...given.map((v) => 2 * v));
      const result = scope(() => quantile(tensor(both, { shape: [2, given.length], device }), q));
      const want = a + (b - a) * (at - Math.floor(at));
      close(await result.data(), [want, 2 * want], 1e-5);
      result.dispose();
    }),
    { numRuns: 60 },
  );
});
