// Which keys of a config take effect: none that a class of the reference reads may be dropped in silence.
import { log } from '@darkroom/core';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { knownKeys } from './config.ts';
import { DDPMScheduler } from './ddpm.ts';
import { DPMSolverMultistepScheduler } from './dpm-solver.ts';
import { EulerDiscreteScheduler } from './euler.ts';
import { schedulerClasses, schedulerFromConfig } from './from-config.ts';
import { HeunDiscreteScheduler } from './heun.ts';
import { UniPCMultistepScheduler } from './unipc.ts';

const base = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };
let warnings: string[];
const { warn } = log;
beforeEach(() => {
  warnings = [];
  log.warn = (message) => warnings.push(message);
});
afterEach(() => {
  log.warn = warn;
});

const sigmasOf = (name: string, config: object, n = 5): readonly number[] => {
  using schedule = schedulerFromConfig({ ...base, ...config, _class_name: `${name}Scheduler` }).schedule({
    numInferenceSteps: n,
  });
  return schedule.sigmas!;
};

test('every known key is a key of some class, and all keys of all classes are known', () => {
  const keys = new Set(Object.values(schedulerClasses).flatMap((made) => Object.keys(new made().config)));
  keys.delete('_class_name');
  expect([...knownKeys].sort()).toEqual([...keys].sort());
});

test('the range of spaced sigmas counts in every class that reads it', () => {
  const range = { sigma_min: 0.1, sigma_max: 10 };
  for (const name of [
    'DPMSolverMultistep',
    'EulerDiscrete',
    'HeunDiscrete',
    'UniPCMultistep',
    'LMSDiscrete',
  ]) {
    for (const key of ['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas']) {
      const sigmas = sigmasOf(name, { [key]: true, ...range });
      // LMS takes its own range for Karras sigmas.
      const own = name === 'LMSDiscrete' && key === 'use_karras_sigmas';
      expect(sigmas[0], `${name} ${key}`).toBeCloseTo(own ? 14.6146 : 10, 4);
      expect(sigmas.at(-2), `${name} ${key}`).toBeCloseTo(own ? 0.0292 : 0.1, 4);
    }
    expect(sigmasOf(name, range)).toEqual(sigmasOf(name, {})); // nothing is spaced
  }
});

test('a range that a class borrows stays in its config, and appears in none that was not given it', () => {
  const euler = new EulerDiscreteScheduler({ ...base, use_karras_sigmas: true, sigma_max: 10 });
  const heun = HeunDiscreteScheduler.fromConfig(euler);
  expect(heun.config['sigma_max']).toBe(10);
  expect('sigma_min' in heun.config).toBe(false);
  expect(UniPCMultistepScheduler.fromConfig(heun).config['sigma_max']).toBe(10);
  expect('sigma_max' in new HeunDiscreteScheduler().config).toBe(false);
});

test('a null variance type passes between DPM-Solver and DDPM, and their words do', () => {
  const ddpm = DDPMScheduler.fromConfig({
    ...new DPMSolverMultistepScheduler({ variance_type: null }).toJSON(),
  });
  expect(ddpm.config['variance_type']).toBe(null);
  for (const variance_type of ['fixed_small_log', 'fixed_large_log', 'fixed_large', 'learned', null]) {
    const dpm = DPMSolverMultistepScheduler.fromConfig(new DDPMScheduler({ variance_type }));
    expect(dpm.config['variance_type']).toBe(variance_type);
  }
});

test('parameters of flow matching pass where nothing is shifted; what would shift is refused by name', () => {
  const flow = { flow_shift: 3, time_shift_type: 'linear', shift: 3, max_shift: 1.15 };
  expect(new DPMSolverMultistepScheduler({ ...flow, use_dynamic_shifting: true }).config).toMatchObject(flow);
  expect(new UniPCMultistepScheduler({ ...flow, shift_terminal: null }).config).toMatchObject(flow);
  expect(() => new UniPCMultistepScheduler({ use_dynamic_shifting: true })).toThrow(
    'use_dynamic_shifting must be',
  );
  expect(() => new DPMSolverMultistepScheduler({ use_flow_sigmas: true })).toThrow(
    'use_flow_sigmas must be false',
  );
  expect(warnings[0]).toContain('config keys shift, max_shift are not known');
});

test('beside trained betas the name of a schedule is not read', () => {
  const trained = { trained_betas: [0.01, 0.02], num_train_timesteps: 2, beta_schedule: 'sigmoid' };
  expect(new EulerDiscreteScheduler(trained).table.betas).toEqual(Float32Array.of(0.01, 0.02));
});

test('a list of sigmas may end in the same level twice, and nowhere else', () => {
  const euler = new EulerDiscreteScheduler({
    ...base,
    final_sigmas_type: 'sigma_min',
    use_karras_sigmas: true,
  });
  const { sigmas } = euler.schedule({ numInferenceSteps: 5 });
  expect(sigmas!.at(-1)).toBe(sigmas!.at(-2));
  expect(euler.schedule({ sigmas: sigmas! }).sigmas).toEqual(sigmas);
  expect(() => euler.schedule({ sigmas: [5, 5, 0] })).toThrow('sigmas must fall, but sigmas[1] is 5 after 5');
});

test('Heun takes a prediction of the sample, and fractional timesteps', () => {
  const heun = new HeunDiscreteScheduler({ ...base, prediction_type: 'sample' });
  expect(heun.schedule({ timesteps: [900.5, 10.25] }).timesteps).toEqual([900.5, 10.25, 10.25]);
});
