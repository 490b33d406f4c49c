// Resampling of images: nearest (as torch's 'nearest') and bilinear (half-pixel centres, edges clamped, no antialias).

import { integer, list, oneOf } from '../attributes.ts';
import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import { dtypes, requireFloat } from '../dtype.ts';
import { ArgumentError, formatShape, ShapeError } from '../errors.ts';
import { elementCount, layoutOf, memoryFormatOf } from '../layout.ts';
import type { Tensor } from '../tensor.ts';
import { pointwiseTolerance } from '../testing/tolerance.ts';

/** x [n, c, h, w] → [n, c, size]. nearest: source = floor(i·in/out) in float32; bilinear: half-pixel centres. */
export interface ResizeOp {
  readonly kind: 'resize';
  readonly mode: 'nearest' | 'bilinear';
  readonly size: readonly [number, number];
}

/** See OpRules. */
export const resizeDefinition: OpDefinition<ResizeOp> = {
  kind: 'resize',
  inputs: [1, 1],
  attributes: { mode: oneOf('nearest', 'bilinear'), size: list(integer(1), 2) },
  tolerance: (_op, _inputs, output) => pointwiseTolerance(output),
  infer(op, [x]) {
    const { shape } = x!.layout;
    requireFloat('resize', 'x', x!.dtype);
    if (shape.length !== 4 || shape[2] === 0 || shape[3] === 0) {
      throw new ShapeError(`resize: needs [n,c,h,w] with h, w > 0, got ${formatShape(shape)}`);
    }
    if (!op.size.every((d) => Number.isInteger(d) && d > 0)) {
      throw new ArgumentError(`resize: size must be two integers > 0, got ${formatShape(op.size)}`);
    }
    const format = memoryFormatOf(x!.layout) === 'channelsLast' ? 'channelsLast' : 'contiguous';
    return { dtype: x!.dtype, layout: layoutOf([shape[0]!, shape[1]!, ...op.size], format) };
  },
  cost(op, inputs) {
    const out = elementCount(this.infer(op, inputs).layout.shape);
    const bytes = dtypes[inputs[0]!.dtype].bytes;
    return {
      flops: op.mode === 'bilinear' ? 8 * out : 0,
      bytes: bytes * (elementCount(inputs[0]!.layout.shape) + out),
    };
  },
};

/** x [n, c, h, w] → [n, c, size[0], size[1]] in x's memory format. */
export function resize(
  x: Tensor,
  size: readonly [number, number],
  mode: ResizeOp['mode'] = 'nearest',
): Tensor {
  return dispatch(resizeDefinition, { kind: 'resize', mode, size }, [x]);
}
