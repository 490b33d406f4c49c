// A 3x3 convolution of stride 1 by Winograd's F(2x2, 3x3): 16 products for four outputs instead of 36 (Lavin & Gray,
// 2016). Its weights are transformed before, which pays where they are kept; the pass graph/passes/winograd.ts makes
// this op from conv2d.
//
// Tiles of 4x4 inputs, two apart, give 2x2 outputs each: out = A^T [ Σ_c U_c ⊙ (B^T d_c B) ] A, where U = G g G^T.

import { expression, list, optional, size } from '../attributes.ts';
import type { OpDefinition } from '../dispatch.ts';
import { dtypes, promote, requireFloat } from '../dtype.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { elementCount, expandLayout, layoutOf, memoryFormatOf } from '../layout.ts';
import type { Expr } from '../expr.ts';
import { epilogueTolerance, winogradTolerance } from '../testing/tolerance.ts';

/** B^T: rows are the positions of a transformed tile, columns those of the input's. */
export const winogradInput: readonly (readonly number[])[] = [
  [1, 0, -1, 0],
  [0, 1, 1, 0],
  [0, -1, 1, 0],
  [0, 1, 0, -1],
];
/** A^T: rows are outputs, columns positions of the products. */
export const winogradOutput: readonly (readonly number[])[] = [
  [1, 1, 1, 0],
  [0, 1, -1, -1],
];

/** Tiles that an output [n, o, h, w] is computed in: [n, rows, columns]. */
export function winogradTiles([n, , h, w]: readonly number[]): readonly [number, number, number] {
  return [n!, Math.ceil(h! / 2), Math.ceil(w! / 2)];
}

/**
 * A 3x3 convolution of stride 1 from transformed weights: x [n, c, h, w], weight [16, c, o]; padding and epilogue as in
 * conv2d.
 */
export interface WinogradOp {
  readonly kind: 'winograd';
  readonly padding: readonly [number, number, number, number];
  readonly epilogue?: Expr;
}

/** See OpRules. */
export const winogradDefinition: OpDefinition<WinogradOp> = {
  kind: 'winograd',
  inputs: [2, 64],
  attributes: { padding: list(size, 4), epilogue: optional(expression) },
  expressions: { epilogue: (_, inputs) => ({ inputs: inputs - 1, scalars: 0, axes: 0 }) },
  tolerance: (op, [, weight], output) =>
    epilogueTolerance(winogradTolerance(weight!.layout.shape[1]!, output), op.epilogue),
  infer(op, [x, weight, ...extra]) {
    requireFloat('winograd', 'input', x!.dtype);
    requireFloat('winograd', 'weight', weight!.dtype);
    const [xs, ws] = [x!.layout.shape, weight!.layout.shape];
    const both = `(input ${formatShape(xs)}, weight ${formatShape(ws)})`;
    if (xs.length !== 4 || ws.length !== 3 || ws[0] !== 16 || xs[1] !== ws[1])
      throw new ShapeError(`winograd: needs an input [n, c, h, w] and a weight [16, c, o] ${both}`);
    const [top, bottom, left, right] = op.padding;
    const [oh, ow] = [xs[2]! + top + bottom - 2, xs[3]! + left + right - 2];
    if (oh < 1 || ow < 1)
      throw new ShapeError(`winograd: kernel 3x3 is larger than the padded input ${both}`);
    const shape = [xs[0]!, ws[2]!, oh, ow];
    for (const e of extra) expandLayout('winograd epilogue', e.layout, shape);
    const format = memoryFormatOf(x!.layout) === 'channelsLast' ? 'channelsLast' : 'contiguous';
    return { dtype: promote(x!.dtype, weight!.dtype), layout: layoutOf(shape, format) };
  },
  cost(op, inputs) {
    const out = this.infer(op, inputs);
    const [, c, o] = inputs[1]!.layout.shape as [number, number, number];
    const tiles = elementCount(winogradTiles(out.layout.shape));
    const written = elementCount(out.layout.shape) * dtypes[out.dtype].bytes;
    const read = inputs.reduce((s, x) => s + elementCount(x.layout.shape) * dtypes[x.dtype].bytes, 0);
    // The products, and the additions of the transforms: 32 for an input tile, 24 for an output tile.
    return { flops: tiles * (32 * c * o + 32 * c + 24 * o), bytes: read + written };
  },
};
