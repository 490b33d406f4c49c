import { expect, test } from 'vitest';
import { measure, summarize } from './measure.ts';

test('summaries are order statistics', () => {
  const samples = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect(summarize('x', samples)).toEqual({
    name: 'x',
    medianMs: 51,
    fastestMs: 1,
    p10Ms: 11,
    p90Ms: 91,
    samples: 100,
  });
});

test('candidates are measured in turn, through benchmark.js', async () => {
  const order: string[] = [];
  const candidate = (name: string, ms: number) => ({
    name,
    run: () => new Promise<void>((resolve) => (order.push(name), setTimeout(resolve, ms))),
  });
  const [quick, slow] = await measure([candidate('quick', 2), candidate('slow', 20)], {
    rounds: 2,
    seconds: 0.05,
  });
  expect(slow!.fastestMs).toBeGreaterThan(19); // a timer never fires early by more than its granule
  expect(quick!.samples).toBeGreaterThan(0);
  const firstSlow = order.indexOf('slow');
  expect(order.slice(firstSlow).includes('quick')).toBe(true);
});
