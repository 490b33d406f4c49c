// Cases of groupNorm, layerNorm and rmsNorm.

import type { DType } from '../../dtype.ts';
import type { InputSpec } from '../inputs.ts';
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

const image = (shape: number[], dtype?: DType, values?: InputSpec['values']): InputSpec => ({
  shape,
  layout: 'channelsLast',
  ...(dtype && { dtype }),
  ...(values && { values }),
});

/** Norms of which every choice of a GPU backend is compared with the oracle: what quads and slabs make special. */
export const normChoiceCases: readonly KernelCase[] = [
  { name: 'groupNorm quads in two groups', op: { kind: 'groupNorm', groups: 4, eps: 1e-5, activation: 'silu' }, inputs: [image([2, 40, 13, 11], 'float16'), { shape: [40], dtype: 'float16' }, { shape: [40], dtype: 'float16' }] },
  { name: 'groupNorm big mean in chunks', op: { kind: 'groupNorm', groups: 2, eps: 1e-5 }, inputs: [image([1, 60, 33, 31], 'float32', { below: 1000 }), { shape: [60] }, { shape: [60] }] },
  { name: 'groupNorm of single channels', op: { kind: 'groupNorm', groups: 20, eps: 1e-5 }, inputs: [image([2, 20, 9, 7], 'bfloat16')] },
  { name: 'groupNorm slab past the last group', op: { kind: 'groupNorm', groups: 6, eps: 1e-6, activation: 'silu' }, inputs: [image([2, 84, 12, 15]), { shape: [84] }, { shape: [84], dtype: 'float16' }] },
  { name: 'groupNorm picture', op: { kind: 'groupNorm', groups: 8, eps: 1e-6, activation: 'silu' }, inputs: [image([1, 32, 100, 90], 'float16'), { shape: [32], dtype: 'float16' }, { shape: [32], dtype: 'float16' }] },
  { name: 'groupNorm wider than a slab', op: { kind: 'groupNorm', groups: 1, eps: 1e-5 }, inputs: [image([1, 2052, 4, 5])] },
  { name: 'layerNorm 320', op: { kind: 'layerNorm', eps: 1e-5 }, inputs: [{ shape: [2, 7, 320], dtype: 'float16' }, { shape: [320], dtype: 'float16' }, { shape: [320], dtype: 'float16' }] },
  { name: 'layerNorm 1280 big mean', op: { kind: 'layerNorm', eps: 1e-5 }, inputs: [{ shape: [5, 1280], values: { below: 1000 } }, { shape: [1280] }, { shape: [1280] }] },
  { name: 'layerNorm 6144', op: { kind: 'layerNorm', eps: 1e-5 }, inputs: [{ shape: [3, 6144], dtype: 'bfloat16' }] },
  { name: 'layerNorm of late slices', op: { kind: 'layerNorm', eps: 1e-5 }, inputs: [{ shape: [3, 5, 36], layout: 'offset' }, { shape: [36], layout: 'sliced' }, { shape: [36] }] },
  { name: 'rmsNorm 2056', op: { kind: 'rmsNorm', eps: 1e-5 }, inputs: [{ shape: [4, 2056], dtype: 'float16' }, { shape: [2056] }] },
]; // prettier-ignore
