import { log } from '@darkroom/core';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DDIMScheduler } from './ddim.ts';
import { DPMSolverMultistepScheduler } from './dpm-solver.ts';
import { EulerDiscreteScheduler } from './euler.ts';
import { schedulerClasses, schedulerFromConfig } from './from-config.ts';
import { PNDMScheduler } from './pndm.ts';

// prettier-ignore
const stableDiffusion = {
  _class_name: 'PNDMScheduler', _diffusers_version: '0.6.0', beta_end: 0.012, beta_schedule: 'scaled_linear', beta_start: 0.00085,
  num_train_timesteps: 1000, set_alpha_to_one: false, skip_prk_steps: true, steps_offset: 1, trained_betas: null, clip_sample: false,
};

let warnings: string[];
const { warn } = log;
beforeEach(() => {
  warnings = [];
  log.warn = (message) => warnings.push(message);
});
afterEach(() => {
  log.warn = warn;
});

test('a published config makes its class, without warnings, and keeps keys of other classes', () => {
  const scheduler = schedulerFromConfig(stableDiffusion);
  expect(scheduler).toBeInstanceOf(PNDMScheduler);
  expect(scheduler.config).toMatchObject({
    ...stableDiffusion,
    prediction_type: 'epsilon',
    timestep_spacing: 'leading',
  });
  expect(warnings).toEqual([]);
  expect(scheduler.schedule({ numInferenceSteps: 50 }).timesteps.slice(0, 4)).toEqual([981, 961, 961, 941]);
});

test('another class from it applies its own defaults, not those of the class before', () => {
  const pndm = schedulerFromConfig(stableDiffusion);
  // leading is only PNDM's default here; DPM-Solver's is linspace.
  expect(DPMSolverMultistepScheduler.fromConfig(pndm).config['timestep_spacing']).toBe('linspace');
  expect(DPMSolverMultistepScheduler.fromConfig({ ...pndm.config }).config['timestep_spacing']).toBe(
    'linspace',
  );
  expect(
    DPMSolverMultistepScheduler.fromConfig(pndm, { timestep_spacing: 'leading' }).config['timestep_spacing'],
  ).toBe('leading');
  const changed = { ...pndm.config, timestep_spacing: 'trailing' };
  expect(EulerDiscreteScheduler.fromConfig(changed).config['timestep_spacing']).toBe('trailing');
});

test('every class is made from the config of every other, and back again', () => {
  for (const from of Object.keys(schedulerClasses)) {
    const first = schedulerFromConfig({ ...stableDiffusion, _class_name: from });
    for (const to of Object.keys(schedulerClasses)) {
      const second = schedulerFromConfig({ ...first.config, _class_name: to });
      const back = schedulerFromConfig({ ...second.config, _class_name: from });
      expect(back.config).toEqual(first.config);
      expect(JSON.parse(JSON.stringify(back))).toEqual(JSON.parse(JSON.stringify(first.config)));
    }
  }
  expect(warnings).toEqual([]);
});

test('a key nobody knows is kept and warned about', () => {
  expect(new DDIMScheduler({ my_key: [1] }).config['my_key']).toEqual([1]);
  expect(warnings).toEqual([
    'DDIMScheduler: config keys my_key are not known and have no effect; they are kept',
  ]);
});

test('-Infinity, and names of other solvers, pass', () => {
  const scheduler = new DPMSolverMultistepScheduler({
    lambda_min_clipped: -Infinity,
    algorithm_type: 'deis',
    solver_type: 'logrho',
  });
  expect(scheduler.config).toMatchObject({
    lambda_min_clipped: -Infinity,
    algorithm_type: 'dpmsolver++',
    solver_type: 'midpoint',
  });
});

test.each([
  [
    { beta_schedule: 'cosine' },
    "DDIMScheduler: beta_schedule must be 'linear', 'scaled_linear', 'squaredcos_cap_v2', got 'cosine'",
  ],
  [
    { prediction_type: 'noise' },
    "DDIMScheduler: prediction_type must be 'epsilon', 'sample', 'v_prediction', got 'noise'",
  ],
  [
    { timestep_spacing: 'even' },
    "DDIMScheduler: timestep_spacing must be 'linspace', 'leading', 'trailing', got 'even'",
  ],
  [{ num_train_timesteps: 0 }, 'DDIMScheduler: num_train_timesteps must be an integer >= 1, got 0'],
  [{ clip_sample: 'yes' }, "DDIMScheduler: clip_sample must be true or false, got 'yes'"],
  [{ trained_betas: [0.1, 0.2] }, 'trained_betas: 2 values for num_train_timesteps 1000'],
])('%j is refused', (config, message) => {
  expect(() => new DDIMScheduler(config)).toThrow(message);
});

test('combinations that cannot work are refused', () => {
  const make = (name: string, config: object) => () => schedulerFromConfig({ _class_name: name, ...config });
  expect(make('DPMSolverMultistepScheduler', { algorithm_type: 'dpmsolver' })).toThrow(
    "final_sigmas_type must be 'sigma_min' for algorithm_type 'dpmsolver', got 'zero'",
  );
  expect(make('DPMSolverMultistepScheduler', { solver_order: 4 })).toThrow(
    'solver_order must be 1, 2 or 3, got 4',
  );
  expect(make('UniPCMultistepScheduler', { predict_x0: false })).toThrow(
    "final_sigmas_type must be 'sigma_min' with predict_x0 false, got 'zero'",
  );
  expect(make('EulerDiscreteScheduler', { use_karras_sigmas: true, use_beta_sigmas: true })).toThrow(
    'only one of use_karras_sigmas and use_beta_sigmas can be true',
  );
  expect(make('PNDMScheduler', { prediction_type: 'sample' })).toThrow(
    "prediction_type must be 'epsilon', 'v_prediction', got 'sample'",
  );
  expect(make('UniPCMultistepScheduler', { use_flow_sigmas: true })).toThrow(
    'use_flow_sigmas must be false (not supported otherwise), got true',
  );
  expect(make('FlowScheduler', {})).toThrow(
    /scheduler_config\.json: _class_name must be one of DDIMScheduler, .*; got "FlowScheduler"/,
  );
});

test.each(Object.keys(schedulerClasses))('%s refuses bad step counts', (name) => {
  const scheduler = schedulerFromConfig({ _class_name: name });
  for (const n of [0, -1, 2.5, NaN]) {
    expect(() => scheduler.schedule({ numInferenceSteps: n })).toThrow(
      `${name}: numInferenceSteps must be an integer >= 1, got ${n}`,
    );
  }
  expect(() => scheduler.schedule({})).toThrow(
    `${name}: numInferenceSteps must be an integer >= 1, got undefined`,
  );
  expect(() => scheduler.schedule({ numInferenceSteps: 1001 })).toThrow(
    `${name}: numInferenceSteps must be at most num_train_timesteps 1000, got 1001`,
  );
});
