// Visits name stages that exist, and leave room for the next one.

import { expect, test } from 'vitest';
import { stageNamed } from './plan.ts';
import { visitOf, visits } from './visits.ts';

test.each(visits.map((visit, i) => [i + 1, visit] as const))(
  'visit %i names stages that exist, the shortest of its seconds long enough to open a device',
  (number, { stages, budgetSeconds }) => {
    for (const [name, seconds] of stages) {
      expect(stageNamed(name).name).toBe(name);
      expect(seconds).toBeGreaterThan(5);
    }
    // Fifteen minutes hold three of them, with what each costs to start and to end.
    expect(budgetSeconds).toBeLessThanOrEqual(240);
    expect(visitOf(number)).toBe(visits[number - 1]);
  },
);

test('another number is refused', () => {
  expect(() => visitOf(4)).toThrow('visit must be 1 to 3, got 4');
});
