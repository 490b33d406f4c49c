// Any config, whatever a file may hold: either one error that names the file, the class, a key and the value, or a run
// with exactly the steps asked for whose samples are all finite.
import fc from 'fast-check';
import { cpu } from '@darkroom/backend-cpu';
import { ArgumentError, concat, FormatError, log, scope, tensor } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { knownKeys } from './config.ts';
import { schedulerClasses, schedulerFromConfig } from './from-config.ts';
import type { SchedulerConfig } from './scheduler.ts';

const runs = Number(process.env['DARKROOM_PROPERTY_RUNS'] ?? 400);
const file = 'model/scheduler/scheduler_config.json';
let device: Device;
const { warn } = log;
beforeAll(async () => {
  device = await cpu();
  log.warn = () => undefined;
});
afterAll(() => {
  log.warn = warn;
});

const { constantFrom } = fc;
const flags = constantFrom<unknown>(true, false, null);
const limits = fc.double({ min: 1e-3, max: 50, noNaN: true });
/** Values that some class takes. */
const valid: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  algorithm_type: constantFrom('dpmsolver', 'dpmsolver++', 'sde-dpmsolver', 'sde-dpmsolver++', 'deis'),
  beta_end: fc.double({ min: 0, max: 1, noNaN: true }),
  beta_schedule: constantFrom('linear', 'scaled_linear', 'squaredcos_cap_v2', 'sigmoid', 'laplace', 'exp'),
  beta_start: fc.double({ min: 0, max: 1, noNaN: true }),
  clip_sample_range: limits,
  disable_corrector: fc.array(fc.integer({ min: -1, max: 20 }), { maxLength: 3 }),
  dynamic_thresholding_ratio: fc.double({ min: 0, max: 1, noNaN: true }),
  final_sigmas_type: constantFrom('zero', 'sigma_min'),
  interpolation_type: constantFrom('linear', 'log_linear'),
  lambda_min_clipped: fc.oneof(constantFrom(-Infinity, -5.1), fc.double({ min: -12, max: 6, noNaN: true })),
  num_train_timesteps: constantFrom(1, 2, 3, 10, 100, 1000, 1100, 5000),
  original_inference_steps: constantFrom(1, 10, 50, 1000),
  prediction_type: constantFrom('epsilon', 'sample', 'v_prediction', 'original_sample'),
  sample_max_value: limits,
  sigma_max: limits,
  sigma_min: limits,
  solver_order: fc.integer({ min: 1, max: 10 }),
  solver_type: constantFrom('midpoint', 'heun', 'logrho', 'bh1', 'bh2'),
  steps_offset: fc.integer({ min: 0, max: 3 }),
  timestep_scaling: limits,
  timestep_spacing: constantFrom('linspace', 'leading', 'trailing'),
  timestep_type: constantFrom('discrete', 'continuous'),
  trained_betas: fc.oneof(
    constantFrom(null),
    fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 12 }),
  ),
  variance_type: constantFrom(
    null,
    'fixed_small',
    'fixed_small_log',
    'fixed_large',
    'fixed_large_log',
    'learned',
  ),
};
/** Values that files of other programs, or of an attacker, hold. */
const hostile = fc.oneof(
  constantFrom<unknown>(
    null,
    true,
    false,
    NaN,
    Infinity,
    -Infinity,
    -0,
    -1,
    1.5,
    1e9,
    1e300,
    5e-324,
    2 ** 53,
    -1e-9,
  ),
  constantFrom<unknown>('', '1000', 'linear', 'constructor', '__proto__', 'toString', 'x'.repeat(100_000)),
  constantFrom<unknown>([], {}, [null], ['a'], [NaN], [[0.1]], [0.1, 0.2], new Array(200_000).fill(0.5)),
);
const keyed = [...knownKeys].map((key): [string, fc.Arbitrary<unknown>] => [
  key,
  fc.oneof({ arbitrary: valid[key] ?? flags, weight: 60 }, { arbitrary: hostile, weight: 1 }),
]);
const config = fc
  .record(Object.fromEntries(keyed), { requiredKeys: [] })
  // About six keys: with all of forty some pair always excludes another.
  .chain((all) =>
    fc.subarray(Object.keys(all), { maxLength: 9 }).map((keys) => {
      const kept = Object.fromEntries(keys.map((key) => [key, all[key]]));
      const trained = kept['trained_betas'];
      const fits = Array.isArray(trained) && trained.length > 0 && trained.length <= 12;
      return fits ? { ...kept, num_train_timesteps: trained.length } : kept;
    }),
  );

const small = (i: number): Tensor =>
  tensor(Float32Array.of(Math.sin(i), Math.cos(i)), { shape: [1, 2, 1, 1], device });

/** Runs all steps; the number of model calls, and whether every sample was finite. */
function run(
  className: string,
  given: SchedulerConfig,
  n: number,
): { calls: number; order: number; finite: boolean } {
  const scheduler = schedulerFromConfig({ ...given, _class_name: className }, file);
  using schedule = scheduler.schedule({ numInferenceSteps: n });
  return scope(() => {
    let x = small(1);
    let finite = schedule.timesteps.every(Number.isFinite);
    const learned = className === 'DDPMScheduler' && String(given['variance_type']).startsWith('learned');
    for (let i = 0; i < schedule.timesteps.length; i++) {
      const output = learned ? concat([small(i), small(i + 1)], 1) : small(i);
      x = schedule.step(output, i, x, { noise: () => small(-i) }).prevSample;
      finite &&= [...x.dataSync()].every(Number.isFinite);
    }
    return { calls: schedule.timesteps.length, order: schedule.order, finite };
  });
}

test('any config either is refused by one clear error or runs exactly its steps, all finite', () => {
  let ran = 0;
  const cases = fc.tuple(
    fc.constantFrom(...Object.keys(schedulerClasses)),
    config,
    fc.integer({ min: 1, max: 18 }),
  );
  fc.assert(
    fc.property(cases, ([className, given, n]) => {
      try {
        const { calls, order, finite } = run(className, given, n);
        ran++;
        const spare = className === 'PNDMScheduler' ? 9 : 0;
        expect(finite).toBe(true);
        expect(calls >= n * order - (order - 1) && calls <= n * order + spare).toBe(true);
      } catch (error) {
        if (!(error instanceof ArgumentError) && !(error instanceof FormatError)) throw error;
        const { message } = error;
        // A number of steps that does not fit is the caller's: no file is to blame.
        const about = message.includes('numInferenceSteps') || message.startsWith(`${file}: ${className}: `);
        const names =
          message.includes('numInferenceSteps') || [...knownKeys].some((key) => message.includes(key));
        expect(about && names && message.length < 600, message.slice(0, 700)).toBe(true);
      }
    }),
    { numRuns: runs, seed: 23 },
  );
  expect(ran).toBeGreaterThan(runs / 5);
});
