// An op is plain JSON data with a kind. Attributes and rules of each kernel op are in ops/<kind>.ts, and
// ops/table.ts has their union; views change only a Layout, and backends never see them.

import type { DType } from './dtype.ts';
import type { Layout } from './layout.ts';

/**
 * The version of the attributes' meaning, written into saved graphs. Bump it when the meaning of an attribute changes.
 */
export const opSchemaVersion = 1;

/** Any op: its kind and JSON attributes. */
export interface AnyOp {
  readonly kind: string;
}

/** `tf32` allows, never demands, rounding float32 operands to 10 bits of mantissa. */
export type Precision = 'float32' | 'tf32';

/** The same elements under another shape. */
export interface ReshapeOp {
  readonly kind: 'reshape';
  readonly shape: readonly number[];
}
/** Dimensions reordered: result dimension i is dimension axes[i]. */
export interface PermuteOp {
  readonly kind: 'permute';
  readonly axes: readonly number[];
}
/** Broadcast to `shape` with stride 0. */
export interface ExpandOp {
  readonly kind: 'expand';
  readonly shape: readonly number[];
}
/** Elements start, start + step, … below stop along `axis`. */
export interface SliceOp {
  readonly kind: 'slice';
  readonly axis: number;
  readonly start: number;
  readonly stop: number;
  readonly step: number;
}
/** An op that moves no data: its result shares the memory of its input. */
export type ViewOp = ReshapeOp | PermuteOp | ExpandOp | SliceOp;

/**
 * Output `index` (1 or more) of an op that has several; stands in graphs only. Its input is the op's node, output 0.
 */
export interface ResultOp {
  readonly kind: 'result';
  readonly index: number;
}

/** Dtype and layout of a tensor: the input of shape rules. */
export interface Spec {
  readonly dtype: DType;
  readonly layout: Layout;
}

/** Work of one call: multiply-adds count 2 flops; bytes assume each tensor crosses memory once. */
export interface Cost {
  readonly flops: number;
  readonly bytes: number;
}
