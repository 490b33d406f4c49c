// Resampling of images: nearest (as torch's 'nearest') and bilinear (half-pixel centres, edges clamped, no antialias).

import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import { dtypes, requireFloat } from '../dtype.ts';
import { ArgumentError, formatShape, ShapeError } from '../errors.ts';
import { elementCount, layoutOf, memoryFormatOf } from '../layout.ts';
import type { ResizeOp } from '../op.ts';
import type { Tensor } from '../tensor.ts';

export const resizeDefinition: OpDefinition<ResizeOp> = {
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
