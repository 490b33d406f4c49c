// Number and values of a run's timesteps, for every class, spacing, length of training and number of steps.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { refusal } from './config.ts';
import { schedulerClasses, schedulerFromConfig } from './from-config.ts';
import { solverTimesteps, spacedTimesteps } from './spacing.ts';
import type { Spacing } from './spacing.ts';

const runs = Number(process.env['DARKROOM_PROPERTY_RUNS'] ?? 400);
const refuse = refusal('Test', undefined);
const spacings: readonly Spacing[] = ['linspace', 'leading', 'trailing'];
const stableDiffusion = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };

/** Model calls of a run of n steps. */
function calls(className: string, n: number, skipsStart: boolean): number {
  if (className === 'HeunDiscreteScheduler') return 2 * n - 1;
  if (className !== 'PNDMScheduler') return n;
  return skipsStart ? n + Math.min(1, n - 1) : n + 9; // three steps of four calls
}

test('61 of 1000 trailing steps are 61, and the last is not below 0', () => {
  for (const className of Object.keys(schedulerClasses)) {
    const scheduler = schedulerFromConfig({
      ...stableDiffusion,
      _class_name: className,
      timestep_spacing: 'trailing',
      skip_prk_steps: true,
      original_inference_steps: 100,
    });
    using schedule = scheduler.schedule({ numInferenceSteps: 61 });
    expect(schedule.timesteps.length, className).toBe(calls(className, 61, true));
    expect(Math.min(...schedule.timesteps), className).toBeGreaterThanOrEqual(0);
  }
});

test('every number of steps of 1000 is met exactly, each timestep once and in range', () => {
  const wrong: string[] = [];
  for (const timestep_spacing of spacings) {
    const config = { num_train_timesteps: 1000, timestep_spacing, steps_offset: 0 };
    for (let n = 1; n <= 1000; n++) {
      for (const timesteps of [spacedTimesteps(config, n, refuse), solverTimesteps(config, n, refuse)]) {
        const falls = timesteps.every((t, i) => i === 0 || t < timesteps[i - 1]!);
        if (timesteps.length === n && falls && timesteps[0]! < 1000 && timesteps.at(-1)! >= 0) continue;
        wrong.push(`${timestep_spacing} ${n}: ${timesteps.length}, ${timesteps[0]} to ${timesteps.at(-1)}`);
      }
    }
  }
  expect(wrong).toEqual([]);
});

const request = fc.integer({ min: 1, max: 3000 }).chain((train) =>
  fc.record({
    className: fc.constantFrom(...Object.keys(schedulerClasses)),
    train: fc.constant(train),
    n: fc.oneof(fc.integer({ min: 1, max: train }), fc.integer({ min: 1, max: Math.min(train, 60) })),
    spacing: fc.constantFrom(...spacings),
    offset: fc.constantFrom(0, 0, 1, 7),
    skipsStart: fc.boolean(),
  }),
);

test('a run has exactly the steps asked for, all within training, whatever its length', () => {
  fc.assert(
    fc.property(request, ({ className, train, n, spacing, offset, skipsStart }) => {
      const scheduler = schedulerFromConfig({
        // Betas as small as the training is long: the noise stays what it is for 1000 steps.
        beta_start: Math.min(0.1, 0.85 / train),
        beta_end: Math.min(0.5, 12 / train),
        num_train_timesteps: train,
        timestep_spacing: spacing,
        steps_offset: offset,
        skip_prk_steps: skipsStart,
        original_inference_steps: train,
        _class_name: className,
      });
      let timesteps: readonly number[];
      try {
        using schedule = scheduler.schedule({ numInferenceSteps: n });
        ({ timesteps } = schedule);
      } catch (error) {
        const { message } = error as Error;
        const tooFew = className === 'PNDMScheduler' && !skipsStart && n < 4;
        return tooFew ? message.includes('at least 4') : offset > 0 && message.includes('steps_offset');
      }
      return (
        timesteps.length === calls(className, n, skipsStart) &&
        timesteps.every((t) => t >= 0 && t < train + (className === 'PNDMScheduler' ? offset : 0))
      );
    }),
    { numRuns: runs, seed: 61 },
  );
});
