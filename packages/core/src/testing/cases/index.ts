// Kernel cases of every op: random ones over shapes, strides, offsets, formats and dtypes, and a table of sizes and edges.
// Every backend's suite runs these unchanged.

import type { KernelOp } from '../../ops/table.ts';
import type { KernelCase } from '../kernel-case.ts';
import { drawWith } from './draw.ts';
import type { Arb, Fc } from './draw.ts';
import { moveArbitraries, moveCases } from './moves.ts';
import { normArbitraries, normCases } from './norms.ts';
import { pointwiseArbitraries, pointwiseCases } from './pointwise.ts';
import { productArbitraries, productCases } from './products.ts';

/** Random cases of each kind of op but custom. A forgotten kind does not compile. */
export function kernelArbitraries(
  fc: Fc,
): Readonly<Record<Exclude<KernelOp['kind'], 'custom'>, Arb<KernelCase>>> {
  const draw = drawWith(fc);
  return {
    ...pointwiseArbitraries(draw),
    ...productArbitraries(draw),
    ...normArbitraries(draw),
    ...moveArbitraries(draw),
  };
}

/** The table of cases that are not drawn. */
export const testCases: readonly KernelCase[] = [
  ...productCases,
  ...normCases,
  ...pointwiseCases,
  ...moveCases,
];
