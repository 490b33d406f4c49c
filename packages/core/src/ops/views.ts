// The view ops: their effect on a layout and on a tensor, and their attributes in files.

import { integer, list, size } from '../attributes.ts';
import type { Attribute } from '../attributes.ts';
import { expandLayout, permuteLayout, reshapeLayout, sliceLayout } from '../layout.ts';
import type { Layout } from '../layout.ts';
import type { ExpandOp, PermuteOp, ReshapeOp, SliceOp, ViewOp } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { reshape } from './copy.ts';

/** Rules of one kind of view. */
export interface ViewRules<O extends ViewOp = ViewOp> {
  readonly attributes: { readonly [A in Exclude<keyof O, 'kind'>]: Attribute };
  /** The layout of the result; undefined for a reshape that only a copy could do. */
  layout(op: O, of: Layout): Layout | undefined;
  /** The result; a reshape that only a copy could do is one. */
  apply(op: O, x: Tensor): Tensor;
}

const reshapeRules: ViewRules<ReshapeOp> = {
  attributes: { shape: list(size) },
  layout: (op, of) => reshapeLayout(of, op.shape),
  apply: (op, x) => reshape(x, op.shape),
};

const permuteRules: ViewRules<PermuteOp> = {
  attributes: { axes: list(integer(-64, 64)) },
  layout: (op, of) => permuteLayout(of, op.axes),
  apply: (op, x) => x.permute(...op.axes),
};

const expandRules: ViewRules<ExpandOp> = {
  attributes: { shape: list(size) },
  layout: (op, of) => expandLayout('expand', of, op.shape),
  apply: (op, x) => x.expand(op.shape),
};

const sliceRules: ViewRules<SliceOp> = {
  attributes: {
    axis: integer(-64, 64),
    start: integer(-(2 ** 40)),
    stop: integer(-(2 ** 40)),
    step: integer(1),
  },
  layout: (op, of) => sliceLayout(of, op.axis, op.start, op.stop, op.step),
  apply: (op, x) => x.slice(op.axis, op.start, op.stop, op.step),
};

const views: { readonly [K in ViewOp['kind']]: ViewRules<Extract<ViewOp, { kind: K }>> } = {
  reshape: reshapeRules,
  permute: permuteRules,
  expand: expandRules,
  slice: sliceRules,
};

/** True for a view: an op that moves no data. */
export const isView = (op: { readonly kind: string }): op is ViewOp => Object.hasOwn(views, op.kind);

/** The rules of a view. */
export function viewRules(op: ViewOp): ViewRules {
  return views[op.kind] as unknown as ViewRules;
}
