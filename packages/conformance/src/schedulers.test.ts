// Tables of noise levels, as a case's config says.

import { expect, test } from 'vitest';
import type { CaseContext } from './context.ts';
import { runSchedulerTable } from './schedulers.ts';

const base = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };

test('tables of the reference cases are rescaled as their config says', async () => {
  const table = async (test: object): Promise<number> => {
    const result = await runSchedulerTable({ test } as unknown as CaseContext);
    return (result as Map<string, Float32Array>).get('alphas_cumprod')!.at(-1)!;
  };
  const config = { ...base, rescale_betas_zero_snr: true };
  expect(await table({ params: { config } })).toBe(0);
  // Classes that work on noise levels keep the last one finite.
  expect(await table({ params: { config }, scheduler: 'EulerDiscreteScheduler' })).toBe(2 ** -24);
  expect(await table({ params: { config: base } })).toBeCloseTo(0.00466, 5);
});
