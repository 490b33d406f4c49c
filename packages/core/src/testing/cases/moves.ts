// Cases of the ops that move or make elements: gather, copy, fill, resize, random.

import type { KernelOp } from '../../ops/table.ts';
import type { InputSpec } from '../inputs.ts';
import type { KernelCase } from '../kernel-case.ts';
import { make } from './draw.ts';
import type { Arb, Draw } from './draw.ts';

function gather({ fc, shape, input }: Draw): Arb<KernelCase> {
  return fc.tuple(shape(3, 9), shape(2, 6), fc.nat()).chain(([dims, ids, a]) => {
    const axis = a % dims.length;
    const spec: InputSpec = { shape: ids, dtype: 'int32', values: { below: dims[axis]! } };
    return input(dims).map((table) => make({ kind: 'gather', axis }, [table, spec]));
  });
}

function copy({ fc, float, shape, input }: Draw): Arb<KernelCase> {
  return fc
    .record({
      dims: shape(4, 7),
      extra: fc.constantFrom(0, 0, 1, 3),
      format: fc.constantFrom('contiguous', 'channelsLast' as const),
      dtype: float,
      two: fc.boolean(),
      axis: fc.nat(),
    })
    .chain(({ dims, extra, format, dtype, two, axis }) => {
      const a = axis % dims.length;
      const whole = dims.map((d, i) => (i === a ? (two ? 2 * d : d) : d) + extra);
      const origin = dims.map(() => extra);
      const next = origin.map((o, i) => (i === a ? o + dims[a]! : o));
      const op: KernelOp = {
        kind: 'copy',
        shape: whole,
        dtype,
        format: dims.length === 4 ? (format as 'contiguous') : 'contiguous',
        starts: two ? [origin, next] : [origin],
        ...(extra > 0 && { fill: -2 }),
      };
      return fc.tuple(input(dims), input(dims)).map(([x, y]) => make(op, two ? [x, y] : [x]));
    });
}

function fill({ fc, float, shape }: Draw): Arb<KernelCase> {
  return fc
    .tuple(shape(3, 9), float)
    .map(([dims, dtype]) => make({ kind: 'fill', shape: dims, dtype, value: 1.25 }, []));
}

function resize({ fc, size, input }: Draw): Arb<KernelCase> {
  return fc
    .record({
      dims: fc.tuple(size(2), size(5), size(9), size(9)),
      size: fc.tuple(size(20), size(20)),
      mode: fc.constantFrom('nearest', 'bilinear' as const),
    })
    .chain(({ dims, size: to, mode }) =>
      input(dims).map((x) => make({ kind: 'resize', mode: mode as 'nearest', size: to }, [x])),
    );
}

function random({ fc, float, shape }: Draw): Arb<KernelCase> {
  return fc
    .record({
      dims: shape(3, 11),
      dtype: float,
      seed: fc.nat(),
      offset: fc.nat(100),
      distribution: fc.constantFrom('normal', 'uniform' as const),
    })
    .map(({ dims, dtype, seed, offset, distribution }) =>
      make(
        {
          kind: 'random',
          distribution: distribution as 'normal',
          shape: dims,
          dtype,
          seed: [seed >>> 0, 7],
          offset,
        },
        [],
      ),
    );
}

/** Random cases by kind. */
export function moveArbitraries(
  draw: Draw,
): Readonly<Record<'gather' | 'copy' | 'fill' | 'resize' | 'random', Arb<KernelCase>>> {
  return {
    gather: gather(draw),
    copy: copy(draw),
    fill: fill(draw),
    resize: resize(draw),
    random: random(draw),
  };
}

/** Small enough for the oracle: sizes at which blocking and threads take part, and edges. */
export const moveCases: readonly KernelCase[] = [
  { name: 'gather f16 rows', op: { kind: 'gather', axis: 0 }, inputs: [{ shape: [50, 33], dtype: 'float16' }, { shape: [7, 11], dtype: 'int32', values: { below: 50 } }] },
]; // prettier-ignore
