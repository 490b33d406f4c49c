// The visits to a machine that is at hand for minutes in all: what runs in each, for how long at most, in this order.
// Between them there is time to mend what the one before has shown.

/** A stage by its name, and its seconds in this visit. */
export type VisitStage = readonly [stage: string, seconds: number];

export interface Visit {
  readonly budgetSeconds: number;
  readonly stages: readonly VisitStage[];
}

export const visits: readonly Visit[] = [
  {
    // What is this machine, what works, and how fast is a step without any tuning?
    budgetSeconds: 215,
    stages: [
      ['box', 10],
      ['smoke', 55],
      ['rates', 28],
      ['unet float16 own', 40],
      ['unet float16 libraries', 50],
      ['picture', 20],
    ],
  },
  {
    // Is everything right, and what does tuning gain?
    budgetSeconds: 225,
    stages: [
      ['conformance', 35],
      ['kernels', 25],
      ['choices', 20],
      ['tune unet float16', 68],
      ['unet float16', 25],
      ['vae float16', 15],
      ['text float16', 12],
      ['racecheck', 25],
      ['memcheck', 20],
    ],
  },
  {
    // The numbers, beside torch's.
    budgetSeconds: 215,
    stages: [
      ['torch float16 before', 50],
      ['unet float16', 22],
      ['vae float16', 14],
      ['text float16', 10],
      ['image float16', 35],
      ['torch float16 after', 24],
      ['rates', 20],
      ['image + memory-efficient attention', 30],
      ['image none', 30],
    ],
  },
];

/** A visit by its number, from 1. @throws Error where there is none. */
export function visitOf(number: number): Visit {
  const visit = visits[number - 1];
  if (!visit) throw new Error(`verify: visit must be 1 to ${visits.length}, got ${number}`);
  return visit;
}
