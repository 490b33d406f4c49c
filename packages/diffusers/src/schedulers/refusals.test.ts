// A scheduler's file must not: make tables without bounds, reach Object.prototype, fill messages, be blamed on
// nobody. Every error names the file, the class, the key, the rule and the value, cut short.
import { ArgumentError, FormatError } from '@darkroom/core';
import { expect, test } from 'vitest';
import { DDIMScheduler } from './ddim.ts';
import { schedulerClasses, schedulerFromConfig } from './from-config.ts';

const file = 'model/scheduler/scheduler_config.json';
const fromFile = (name: string, config: object): void => {
  schedulerFromConfig({ ...config, _class_name: `${name}Scheduler` }, file);
};
/** The error, which must be of the class. */
function refused(run: () => unknown, type: new (message: string) => Error): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(type);
    return (error as Error).message;
  }
  throw new Error('was not refused');
}

const outOfBounds: readonly (readonly [string, string, unknown, string])[] = [
  ['DDIM', 'num_train_timesteps', 1e9, 'must be an integer <= 100000, got 1000000000'],
  ['DDIM', 'num_train_timesteps', 0.5, 'must be an integer >= 1, got 0.5'],
  ['DDIM', 'num_train_timesteps', '1000', "must be an integer >= 1, got '1000'"],
  ['DDIM', 'num_train_timesteps', true, 'must be an integer >= 1, got true'],
  ['DDIM', 'num_train_timesteps', [1000], 'must be an integer >= 1, got a list of 1'],
  ['DDIM', 'beta_start', NaN, 'must be a number from 0 to 1, got NaN'],
  ['DDIM', 'beta_start', -0.1, 'must be a number from 0 to 1, got -0.1'],
  ['DDIM', 'beta_end', Infinity, 'must be a number from 0 to 1, got Infinity'],
  ['DDIM', 'beta_end', null, 'must be a number from 0 to 1, got null'],
  ['DDIM', 'steps_offset', 1e9, 'must be an integer <= 100000, got 1000000000'],
  ['DDIM', 'steps_offset', -1, 'must be an integer >= 0, got -1'],
  ['DDIM', 'clip_sample', 1, 'must be true or false, got 1'],
  ['DDIM', 'clip_sample_range', -1, 'must be a number from 0 to 1000000, got -1'],
  ['DDIM', 'dynamic_thresholding_ratio', 1.5, 'must be a number from 0 to 1, got 1.5'],
  ['DDIM', 'sample_max_value', 0, 'must be a number from 0.000001 to 1000000, got 0'],
  ['DDIM', 'trained_betas', 0.1, 'must be a list of 1 to 100000 numbers from 0 to 1, or null, got 0.1'],
  [
    'DDIM',
    'trained_betas',
    [],
    'must be a list of 1 to 100000 numbers from 0 to 1, or null, got a list of 0',
  ],
  ['DDIM', 'trained_betas', new Array(1_000_000).fill(0.1), 'or null, got a list of 1000000'],
  ['DDIM', 'trained_betas', [0.1, NaN], 'or null, got a list of 2'],
  ['DDIM', 'trained_betas', [0.1, 1.5], 'or null, got a list of 2'],
  [
    'DDIM',
    'beta_schedule',
    ['linear'],
    "must be 'linear', 'scaled_linear', 'squaredcos_cap_v2', got a list of 1",
  ],
  ['DDIM', 'prediction_type', {}, "must be 'epsilon', 'sample', 'v_prediction', got an object"],
  [
    'DDIM',
    'prediction_type',
    'constructor',
    "must be 'epsilon', 'sample', 'v_prediction', got 'constructor'",
  ],
  ['DPMSolverMultistep', 'algorithm_type', '__proto__', "got '__proto__'"],
  ['DPMSolverMultistep', 'solver_order', 1e9, 'must be an integer <= 100000, got 1000000000'],
  ['DPMSolverMultistep', 'lambda_min_clipped', NaN, 'must be a number from -Infinity to 1000000, got NaN'],
  ['DPMSolverMultistep', 'sigma_min', '0.1', "must be a number from 0.000001 to 1000000, or null, got '0.1'"],
  ['UniPCMultistep', 'solver_order', 11, 'must be an integer <= 10, got 11'],
  [
    'UniPCMultistep',
    'disable_corrector',
    [0.5],
    'must be a list of at most 100000 integers, got a list of 1',
  ],
  ['UniPCMultistep', 'solver_p', {}, 'must be null (not supported otherwise), got an object'],
  ['UniPCMultistep', 'shift_terminal', 0.02, 'must be null (not supported otherwise), got 0.02'],
  ['UniPCMultistep', 'use_dynamic_shifting', true, 'must be false (not supported otherwise), got true'],
  [
    'EulerDiscrete',
    'sigma_max',
    Infinity,
    'must be a number from 0.000001 to 1000000, or null, got Infinity',
  ],
  ['HeunDiscrete', 'sigma_max', -5, 'must be a number from 0.000001 to 1000000, or null, got -5'],
  ['LCM', 'original_inference_steps', 0, 'must be an integer >= 1, got 0'],
  ['LCM', 'timestep_scaling', 'ten', "must be a number from 0 to 1000000, got 'ten'"],
];

test.each(outOfBounds)('%s: %s is bounded', (name, key, value, rule) => {
  const got = refused(() => fromFile(name, { [key]: value }), FormatError);
  // Numbers such as 0.000001 stand in messages as JavaScript writes them.
  expect(got).toContain(rule.replaceAll('0.000001', String(1e-6)));
  expect(got.startsWith(`${file}: ${name}Scheduler: ${key} must be `), got).toBe(true);
  expect(refused(() => new schedulerClasses[`${name}Scheduler`]!({ [key]: value }), ArgumentError)).toBe(
    got.slice(`${file}: `.length),
  );
});

test('errors about values that do not fit each other name the file too', () => {
  const start = (name: string, config: object, numInferenceSteps: number): string =>
    refused(
      () =>
        schedulerFromConfig({ ...config, _class_name: `${name}Scheduler` }, file).schedule({
          numInferenceSteps,
        }),
      FormatError,
    );
  const named = (name: string, rule: string): string => `${file}: ${name}Scheduler: ${rule}`;
  expect(start('DDIM', { trained_betas: [0.1, 0.2] }, 1)).toBe(
    named('DDIM', 'trained_betas: 2 values for num_train_timesteps 1000; give one a step'),
  );
  expect(start('DDIM', { steps_offset: 1 }, 1000)).toBe(
    named(
      'DDIM',
      'steps_offset: 1 moves the first of 1000 timesteps to 1000, past num_train_timesteps 1000; use fewer steps',
    ),
  );
  expect(start('EulerDiscrete', { timestep_spacing: 'leading', steps_offset: 1 }, 1000)).toContain(
    'steps_offset: 1',
  );
  expect(start('HeunDiscrete', { use_karras_sigmas: true, sigma_min: 20, sigma_max: 10 }, 5)).toBe(
    named('HeunDiscrete', 'sigma_min 20 must be below sigma_max 10'),
  );
  expect(start('DPMSolverMultistep', { lambda_min_clipped: 100 }, 5)).toBe(
    named('DPMSolverMultistep', 'lambda_min_clipped 100 leaves 0 timesteps for 5 steps'),
  );
  expect(start('DPMSolverMultistep', { solver_order: 4 }, 5)).toBe(
    named('DPMSolverMultistep', 'solver_order must be 1, 2 or 3, got 4'),
  );
  expect(start('EulerDiscrete', { use_karras_sigmas: true, use_beta_sigmas: true }, 5)).toBe(
    named('EulerDiscrete', 'only one of use_karras_sigmas and use_beta_sigmas can be true'),
  );
  expect(start('EulerDiscrete', { beta_start: 1, beta_end: 1 }, 5)).toMatch(
    /beta_schedule 'linear' from beta_start 1 to beta_end 1 .* must give noise levels above 0 .*, got Infinity/,
  );
  expect(start('LCM', { num_train_timesteps: 20 }, 5)).toBe(
    named('LCM', 'original_inference_steps must be at most num_train_timesteps 20, got 50'),
  );
});

test('names of Object.prototype are no classes and no keys', () => {
  for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty']) {
    const message = refused(() => schedulerFromConfig({ _class_name: name }, file), FormatError);
    expect(message).toContain(`${file}: _class_name must be one of DDIMScheduler`);
    expect(message).toContain(`got "${name}"`);
  }
  const config = JSON.parse('{"__proto__": {"clip_sample": false}, "constructor": 1}') as object;
  const scheduler = new DDIMScheduler(config as Record<string, unknown>);
  expect(scheduler.config['clip_sample']).toBe(true);
  expect(Object.getPrototypeOf(scheduler.config)).toBe(Object.prototype);
});

test('quoted values are cut', () => {
  const long = 'x'.repeat(20_000_000);
  for (const config of [{ prediction_type: long }, { beta_start: long }, { num_train_timesteps: [long] }])
    expect(refused(() => new DDIMScheduler(config), ArgumentError).length).toBeLessThan(250);
  expect(refused(() => schedulerFromConfig({ _class_name: long }, file), FormatError).length).toBeLessThan(
    500,
  );
  expect(refused(() => schedulerFromConfig({ _class_name: [long] }, file), FormatError).length).toBeLessThan(
    500,
  );
  const numInferenceSteps = long as unknown as number;
  const scheduler = new DDIMScheduler();
  expect(refused(() => scheduler.schedule({ numInferenceSteps }), ArgumentError).length).toBeLessThan(250);
});
