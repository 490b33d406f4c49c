// Cases of groupNorm, layerNorm and rmsNorm.

import type { KernelCase } from '../kernel-case.ts';
import { make } from './draw.ts';
import type { Arb, Draw } from './draw.ts';

function groupNorm({ fc, size, input }: Draw): Arb<KernelCase> {
  return fc
    .record({
      n: size(2),
      groups: size(4),
      per: size(5),
      rest: fc.oneof(fc.tuple(size(7), size(7)), fc.tuple(size(30))),
      silu: fc.boolean(),
      affine: fc.boolean(),
    })
    .chain(({ n, groups, per, rest, silu, affine }) => {
      const c = groups * per;
      return fc
        .tuple(input([n, c, ...rest]), input([c]), input([c]))
        .map(([x, weight, bias]) =>
          make(
            { kind: 'groupNorm', groups, eps: 1e-5, ...(silu && { activation: 'silu' as const }) },
            affine ? [x, weight, bias] : [x],
          ),
        );
    });
}

function lastAxis({ fc, shape, input }: Draw, kind: 'layerNorm' | 'rmsNorm'): Arb<KernelCase> {
  return fc.tuple(shape(3, 40), fc.boolean()).chain(([dims, affine]) => {
    const d = dims.at(-1)!;
    return fc
      .tuple(input(dims), input([d]), input([d]))
      .map(([x, weight, bias]) =>
        make({ kind, eps: 1e-5 }, !affine ? [x] : kind === 'rmsNorm' ? [x, weight] : [x, weight, bias]),
      );
  });
}

/** Random cases by kind. */
export function normArbitraries(
  draw: Draw,
): Readonly<Record<'groupNorm' | 'layerNorm' | 'rmsNorm', Arb<KernelCase>>> {
  return {
    groupNorm: groupNorm(draw),
    layerNorm: lastAxis(draw, 'layerNorm'),
    rmsNorm: lastAxis(draw, 'rmsNorm'),
  };
}

/** Small enough for the oracle: sizes at which blocking and threads take part, and edges. */
export const normCases: readonly KernelCase[] = [
  { name: 'groupNorm big mean', op: { kind: 'groupNorm', groups: 4, eps: 1e-5 }, inputs: [{ shape: [2, 32, 33, 31], values: { below: 1000 } }, { shape: [32] }, { shape: [32] }] },
  { name: 'groupNorm nhwc', op: { kind: 'groupNorm', groups: 5, eps: 1e-6, activation: 'silu' }, inputs: [{ shape: [3, 35, 9, 11], layout: 'channelsLast' }, { shape: [35] }, { shape: [35] }] },
]; // prettier-ignore
