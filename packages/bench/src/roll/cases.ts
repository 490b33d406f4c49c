// Cases of roll: random ones over shapes, layouts and dtypes, and edges.

import { drawWith } from '@darkroom/core/testing';
import type { Arb, Fc, KernelCase } from '@darkroom/core/testing';
import type { RollOp } from './roll.ts';

export function rollArbitrary(fc: Fc): Arb<KernelCase<RollOp>> {
  const { shape, input } = drawWith(fc);
  return fc.tuple(shape(4, 9), fc.nat(), fc.nat()).chain(([dims, a, by]) => {
    const axis = a % dims.length;
    const op: RollOp = { kind: 'roll', axis, shift: by % dims[axis]! };
    return input(dims).map((x) => ({ name: 'random roll', op, inputs: [x] }));
  });
}

export const rollCases: readonly KernelCase<RollOp>[] = [
  { name: 'roll rows', op: { kind: 'roll', axis: 0, shift: 3 }, inputs: [{ shape: [70, 130] }] },
  { name: 'roll by nothing', op: { kind: 'roll', axis: 1, shift: 0 }, inputs: [{ shape: [3, 5] }] },
  { name: 'roll of nothing', op: { kind: 'roll', axis: 1, shift: 0 }, inputs: [{ shape: [3, 0, 2] }] },
  { name: 'roll f16', op: { kind: 'roll', axis: 2, shift: 5 }, inputs: [{ shape: [2, 3, 33], dtype: 'float16' }] },
]; // prettier-ignore
