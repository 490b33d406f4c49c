// conv2d on the SIMD product, or by Winograd's tiles where those pay.

import type { ArgSpec, Conv2dOp } from '@darkroom/core/backend';
import { prepareConv } from '../simd/conv2d.ts';
import type { ConvSpec } from '../simd/conv2d.ts';
import { tiles } from '../simd/product.ts';
import { prepareWinograd, winogradFits } from '../simd/winograd.ts';
import type { Factory } from './kernel.ts';
import { productChoices, tileOf, withEpilogue } from './shared/product.ts';

type Four = readonly [number, number, number, number];

const winograd = 'simd/winograd';

function convSpec(op: Conv2dOp, args: readonly ArgSpec[]): ConvSpec {
  const of = (a: ArgSpec): ConvSpec['x'] => ({
    dtype: a.dtype,
    shape: a.layout.shape as unknown as Four,
    strides: a.layout.strides,
  });
  return { ...op, x: of(args[0]!), weight: of(args[1]!), y: of(args.at(-1)!) };
}

export const conv2dFactory: Factory<Conv2dOp> = {
  choices(op, args) {
    const ids = productChoices(op.epilogue, args);
    if (ids.length === 0) return ids;
    // Register blocks that do not cross image rows are packed by vectors: prefer a width that divides the row.
    const width = args.at(-1)!.layout.shape[3]!;
    const divides = (id: string): boolean => width % tileOf(id).nr === 0;
    const direct = ids.toSorted((a, b) => Number(divides(b)) - Number(divides(a)));
    return winogradFits(convSpec(op, args)) ? [winograd, ...direct] : direct;
  },
  prepare(engine, op, args, choice) {
    const spec = convSpec(op, args);
    const conv =
      choice === winograd
        ? prepareWinograd(engine, spec, tiles[0]!)
        : prepareConv(engine, spec, tileOf(choice));
    return withEpilogue(engine, op.epilogue, args, conv);
  },
};
