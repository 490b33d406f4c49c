// 2-D convolution with an optional fused epilogue; any stride, asymmetric padding, dilation, groups. float32
// accumulation.

import { expression, integer, list, optional, precision, size } from '../attributes.ts';
import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import { dtypes, promote, requireFloat } from '../dtype.ts';
import { DTypeError, formatShape, ShapeError } from '../errors.ts';
import { exprKey } from '../expr.ts';
import type { Expr } from '../expr.ts';
import {
  elementCount,
  expandLayout,
  isChannelsLast,
  layoutOf,
  memoryFormatOf,
  reshapeLayout,
} from '../layout.ts';
import type { Layout } from '../layout.ts';
import type { Precision } from '../op.ts';
import { epilogueTolerance, productTolerance } from '../testing/tolerance.ts';
import type { Tensor } from '../tensor.ts';
import { map } from './map.ts';
import { epilogueOf, precisionAttribute } from './matmul.ts';
import type { Epilogue } from './matmul.ts';
import { SharedOps } from './shared-ops.ts';

/** x [n, c, h, w] * weight [o, c/groups, kh, kw]; padding is [top, bottom, left, right]. Epilogue as in matmul. */
export interface Conv2dOp {
  readonly kind: 'conv2d';
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number, number, number];
  readonly dilation: readonly [number, number];
  readonly groups: number;
  readonly precision?: Precision;
  readonly epilogue?: Expr;
}

/** See OpRules. */
export const conv2dDefinition: OpDefinition<Conv2dOp> = {
  kind: 'conv2d',
  inputs: [2, 64],
  attributes: {
    stride: list(integer(1), 2),
    padding: list(size, 4),
    dilation: list(integer(1), 2),
    groups: integer(1),
    precision,
    epilogue: optional(expression),
  },
  expressions: { epilogue: (_, inputs) => ({ inputs: inputs - 1, scalars: 0, axes: 0 }) },
  defaults: { stride: [1, 1], dilation: [1, 1], groups: 1 },
  key: (op) =>
    `conv2d ${op.stride} ${op.padding} ${op.dilation} ${op.groups} ${op.precision ?? ''} ` +
    (op.epilogue === undefined ? '' : exprKey(op.epilogue)),
  epilogueAfter: 2,
  weight: {
    input: 1,
    setsFormat: true,
    adjacent: (result) => (isChannelsLast(result) ? [2, 3, 1, 0] : undefined),
  },
  tolerance(op, inputs, output) {
    const k = elementCount(inputs[1]!.layout.shape.slice(1));
    return epilogueTolerance(productTolerance(op, inputs, k, output), op.epilogue);
  },
  infer(op, [x, weight, ...extra]) {
    requireFloat('conv2d', 'input', x!.dtype);
    requireFloat('conv2d', 'weight', weight!.dtype);
    const [xs, ws] = [x!.layout.shape, weight!.layout.shape];
    const both = `(input ${formatShape(xs)}, weight ${formatShape(ws)})`;
    if (xs.length !== 4 || ws.length !== 4) throw new ShapeError(`conv2d: needs 4 dimensions ${both}`);
    const [n, c, h, w] = xs as [number, number, number, number];
    const [o, cg, kh, kw] = ws as [number, number, number, number];
    if (c !== cg * op.groups) {
      throw new ShapeError(
        `conv2d: input has ${c} channels but weight expects ${cg} × groups ${op.groups} = ${cg * op.groups} ${both}`,
      );
    }
    if (o % op.groups !== 0)
      throw new ShapeError(`conv2d: ${o} output channels are not divisible by groups ${op.groups} ${both}`);
    const [top, bottom, left, right] = op.padding;
    const oh = Math.floor((h + top + bottom - op.dilation[0] * (kh - 1) - 1) / op.stride[0]) + 1;
    const ow = Math.floor((w + left + right - op.dilation[1] * (kw - 1) - 1) / op.stride[1]) + 1;
    if (oh < 1 || ow < 1)
      throw new ShapeError(`conv2d: kernel ${kh}x${kw} is larger than the padded input ${both}`);
    const shape = [n, o, oh, ow];
    for (const e of extra) expandLayout('conv2d epilogue', e.layout, shape);
    // As PyTorch: weights in channels-last bring the activations along.
    const last = [x!, weight!].some((t) => memoryFormatOf(t.layout) === 'channelsLast');
    const format = last ? 'channelsLast' : 'contiguous';
    return { dtype: promote(x!.dtype, weight!.dtype), layout: layoutOf(shape, format) };
  },
  cost(op, inputs) {
    const out = this.infer(op, inputs);
    const n = elementCount(out.layout.shape);
    const [, cg, kh, kw] = inputs[1]!.layout.shape as [number, number, number, number];
    const read = inputs.reduce((s, x) => s + elementCount(x.layout.shape) * dtypes[x.dtype].bytes, 0);
    return { flops: 2 * n * cg * kh * kw, bytes: read + n * dtypes[out.dtype].bytes };
  },
  decompose(op, [x, weight, ...extra]) {
    if (!op.epilogue)
      throw new DTypeError(`conv2d: the device cannot convolve ${x!.dtype} with ${weight!.dtype}`);
    const { epilogue, ...plain } = op;
    const acc = dispatch(conv2dDefinition, plain, [x!, weight!]);
    return map(epilogue, [acc, ...extra], { dtype: acc.dtype });
  },
};

/** Options of conv2d. */
export interface Conv2dOptions extends Epilogue {
  readonly stride?: number | readonly [number, number];
  /** One number for all sides, [vertical, horizontal], or [top, bottom, left, right]. */
  readonly padding?: number | readonly [number, number] | readonly [number, number, number, number];
  readonly dilation?: number | readonly [number, number];
  readonly groups?: number;
}

const pair = (v: number | readonly [number, number]): readonly [number, number] =>
  typeof v === 'number' ? [v, v] : v;

function sides(p: NonNullable<Conv2dOptions['padding']>): readonly [number, number, number, number] {
  if (typeof p === 'number') return [p, p, p, p];
  return p.length === 2 ? [p[0], p[0], p[1], p[1]] : p;
}

/** x [n, c, h, w], weight [o, c/groups, kh, kw], bias [o] → [n, o, h', w'], channels-last if one of x and weight is. */
export function conv2d(x: Tensor, weight: Tensor, options: Conv2dOptions = {}): Tensor {
  const { bias } = options;
  const seen = bias?.rank === 1 ? overChannels(bias) : bias;
  try {
    const { expr, extra } = epilogueOf({ ...options, bias: seen });
    return dispatch(conv2dDefinition, conv2dOp(x, options, expr), [x, weight, ...extra]);
  } finally {
    if (seen !== bias) seen?.dispose();
  }
}

/** Layouts [c, 1, 1] by layout of a bias [c], since layouts of parameters live long. */
const channelLayouts = new WeakMap<Layout, Layout>();

/** A bias [c] as [c, 1, 1]. */
function overChannels(bias: Tensor): Tensor {
  let layout = channelLayouts.get(bias.layout);
  if (!layout) {
    layout = reshapeLayout(bias.layout, [bias.elements, 1, 1])!;
    channelLayouts.set(bias.layout, layout);
  }
  return bias.viewAs({ kind: 'reshape', shape: layout.shape }, layout);
}

const convolutions = new SharedOps<Conv2dOp>();

function conv2dOp(x: Tensor, options: Conv2dOptions, expr: Expr | undefined): Conv2dOp {
  const [stride, padding, dilation] = [pair(options.stride ?? 1), sides(options.padding ?? 0), pair(options.dilation ?? 1)]; // prettier-ignore
  const groups = options.groups ?? 1;
  const rounding = x.deviceOrNone?.precision.conv2d;
  return convolutions.of([expr, rounding, groups, ...stride, ...padding, ...dilation], () => ({
    kind: 'conv2d',
    stride,
    padding,
    dilation,
    groups,
    ...precisionAttribute(rounding),
    ...(expr !== undefined && { epilogue: expr }),
  }));
}
