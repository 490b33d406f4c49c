// The op set: every operation as plain JSON data. Nothing here runs; each kind's rules are in ops/<kind>.ts.
// Views (reshape, permute, expand, slice) change only a Layout; backends never see them.

import type { DType } from './dtype.ts';
import { exprKey } from './expr.ts';
import type { Expr } from './expr.ts';
import type { Layout, MemoryFormat } from './layout.ts';

/** Bump when the meaning of an attribute changes; stands in saved graphs. */
export const opSchemaVersion = 1;

/**
 * Pointwise work: inputs broadcast against each other (and `shape`, needed only without inputs).
 * `scalars` are run-time numbers: they never specialise a kernel.
 */
export interface MapOp {
  readonly kind: 'map';
  readonly expr: Expr;
  readonly dtype: DType;
  readonly shape?: readonly number[];
  readonly scalars?: readonly number[];
}
/** fn over `axes` of pre(x); then post. Without keepDims the axes vanish. argmax takes one axis, gives int32. */
export interface ReduceOp {
  readonly kind: 'reduce';
  readonly fn: 'sum' | 'max' | 'min' | 'argmax';
  readonly axes: readonly number[];
  readonly keepDims: boolean;
  readonly pre?: Expr;
  readonly post?: Expr;
}
/** `tf32` allows, never demands, rounding float32 operands to 10 bits of mantissa. */
export type Precision = 'float32' | 'tf32';
/**
 * a [..., m, k] × b [..., k, n] → [..., m, n]. Transposes are views. Epilogue: an expression over
 * ['in', 0] = the float32 accumulator and ['in', 1…] = the extra inputs, broadcast to the output.
 */
export interface MatmulOp {
  readonly kind: 'matmul';
  readonly precision?: Precision;
  readonly epilogue?: Expr;
}
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
/**
 * A 3x3 convolution of stride 1 from transformed weights: x [n, c, h, w], weight [16, c, o]; padding and epilogue as in
 * conv2d. See ops/winograd.ts.
 */
export interface WinogradOp {
  readonly kind: 'winograd';
  readonly padding: readonly [number, number, number, number];
  readonly epilogue?: Expr;
}
/** q [b, h, l, d], k [b, h, s, d], v [b, h, s, d] (, mask broadcast to [b, h, l, s], added to the scores). */
export interface AttentionOp {
  readonly kind: 'attention';
  readonly scale: number;
  readonly mask: 'none' | 'causal' | 'additive';
}
export interface SoftmaxOp {
  readonly kind: 'softmax';
  readonly axis: number;
}
/** x [n, c, ...] (, weight [c], bias [c]). */
export interface GroupNormOp {
  readonly kind: 'groupNorm';
  readonly groups: number;
  readonly eps: number;
  readonly activation?: 'silu';
}
/** Over the last axis (, weight [d], bias [d]). */
export interface LayerNormOp {
  readonly kind: 'layerNorm';
  readonly eps: number;
}
/** Over the last axis (, weight [d]). */
export interface RmsNormOp {
  readonly kind: 'rmsNorm';
  readonly eps: number;
}
/** table [..], ids int32 [..] → table's shape with `axis` replaced by the shape of ids. */
export interface GatherOp {
  readonly kind: 'gather';
  readonly axis: number;
}
/**
 * Assembles a tensor of `shape`: filled with `fill` where no input lands, input i placed at `starts[i]`, later ones
 * over earlier ones. One input at 0: contiguous, cast or format change; several: concat; with fill: pad.
 */
export interface CopyOp {
  readonly kind: 'copy';
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly format: MemoryFormat;
  readonly starts: readonly (readonly number[])[];
  readonly fill?: number;
}
export interface FillOp {
  readonly kind: 'fill';
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly value: number;
}
/** x [n, c, h, w] → [n, c, size]. nearest: source = floor(i·in/out) in float32; bilinear: half-pixel centres. */
export interface ResizeOp {
  readonly kind: 'resize';
  readonly mode: 'nearest' | 'bilinear';
  readonly size: readonly [number, number];
}
/** Philox4x32-10 keyed by seed; element i takes word i mod 4 of block offset + floor(i/4). See ops/random.ts. */
export interface RandomOp {
  readonly kind: 'random';
  readonly distribution: 'normal' | 'uniform';
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** [low, high] 32-bit words. Run-time data: they never specialise a kernel. */
  readonly seed: readonly [number, number];
  readonly offset: number;
}
/** A user's own kernel: `sources` by backend name; `output` is what infer would say. */
export interface CustomOp {
  readonly kind: 'custom';
  readonly name: string;
  readonly output: { readonly shape: readonly number[]; readonly dtype: DType };
  readonly sources: Readonly<Record<string, string>>;
}

export type KernelOp =
  | MapOp
  | ReduceOp
  | MatmulOp
  | Conv2dOp
  | WinogradOp
  | AttentionOp
  | SoftmaxOp
  | GroupNormOp
  | LayerNormOp
  | RmsNormOp
  | GatherOp
  | CopyOp
  | FillOp
  | ResizeOp
  | RandomOp
  | CustomOp;

export type ViewOp =
  | { readonly kind: 'reshape'; readonly shape: readonly number[] }
  | { readonly kind: 'permute'; readonly axes: readonly number[] }
  | { readonly kind: 'expand'; readonly shape: readonly number[] }
  | {
      readonly kind: 'slice';
      readonly axis: number;
      readonly start: number;
      readonly stop: number;
      readonly step: number;
    };

export type Op = KernelOp | ViewOp;

/** What shape rules see of a tensor: no device, no memory. */
export interface Spec {
  readonly dtype: DType;
  readonly layout: Layout;
}

/** Work of one call: multiply-adds count 2 flops; bytes assume each tensor crosses memory once. */
export interface Cost {
  readonly flops: number;
  readonly bytes: number;
}

/**
 * A text equal for ops that may share a kernel (given equal input specs): all attributes but those that only carry
 * run-time values. On the hot path: JSON.stringify only for the rarer kinds.
 */
export function opKey(op: KernelOp): string {
  switch (op.kind) {
    case 'map':
      return `map ${op.dtype} ${op.shape ?? ''} ${op.scalars?.length ?? 0} ${exprKey(op.expr)}`;
    case 'matmul':
      return `matmul ${op.precision ?? ''} ${op.epilogue === undefined ? '' : exprKey(op.epilogue)}`;
    case 'conv2d':
      return (
        `conv2d ${op.stride} ${op.padding} ${op.dilation} ${op.groups} ${op.precision ?? ''} ` +
        (op.epilogue === undefined ? '' : exprKey(op.epilogue))
      );
    case 'fill':
      return `fill ${op.dtype} ${op.shape}`;
    case 'random':
      return `random ${op.distribution} ${op.dtype} ${op.shape}`;
    default:
      return JSON.stringify(op);
  }
}

/** The run-time numbers of an op, in the order a kernel receives them. */
export function opScalars(op: KernelOp): readonly number[] {
  switch (op.kind) {
    case 'map':
      return op.scalars ?? [];
    case 'fill':
      return [op.value];
    case 'random':
      return [op.seed[0], op.seed[1], op.offset];
    default:
      return [];
  }
}
