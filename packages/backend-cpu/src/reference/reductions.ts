// Reference kernels: reduce, softmax, group/layer/rms norm; sums in double precision, two passes for variances.

import { evaluate } from '@darkroom/core';
import type { Expr, GroupNormOp, LayerNormOp, ReduceOp, RmsNormOp, SoftmaxOp } from '@darkroom/core';
import { at, forEachIndex } from './access.ts';
import type { View } from './access.ts';

function apply(expr: Expr | undefined, x: number): number {
  return expr === undefined ? x : evaluate(expr, { inputs: [x], scalars: [], index: [] });
}

export function reduce(op: ReduceOp, args: readonly View[]): void {
  const [x, out] = args as [View, View];
  const inner = x.shape.map((d, i) => (op.axes.includes(i) ? d : 1));
  const outer = x.shape.map((d, i) => (op.axes.includes(i) ? 1 : d));
  const outStrides = x.shape.map((_, i) => {
    if (op.axes.includes(i)) return 0;
    const position = op.keepDims ? i : i - op.axes.filter((a) => a < i).length;
    return out.strides[position]!;
  });
  forEachIndex(outer, (base) => {
    const start = at(x.strides, base);
    let [total, best, bestAt, n] = [0, NaN, 0, 0];
    forEachIndex(inner, (index) => {
      const value = apply(op.pre, x.get(start + at(x.strides, index)));
      total += value;
      const better = op.fn === 'min' ? value < best : value > best;
      if (n === 0 || better || (Number.isNaN(value) && !Number.isNaN(best))) [best, bestAt] = [value, n];
      n++;
    });
    const result = op.fn === 'sum' ? total : op.fn === 'argmax' ? bestAt : best;
    out.set(at(outStrides, base), apply(op.post, result));
  });
}

export function softmax(op: SoftmaxOp, args: readonly View[]): void {
  const [x, out] = args as [View, View];
  const k = x.shape[op.axis]!;
  const outer = x.shape.map((d, i) => (i === op.axis ? 1 : d));
  const row = new Float64Array(k);
  forEachIndex(outer, (base) => {
    const [xi, oi] = [at(x.strides, base), at(out.strides, base)];
    let highest = -Infinity;
    for (let i = 0; i < k; i++) highest = Math.max(highest, (row[i] = x.get(xi + i * x.strides[op.axis]!)));
    let total = 0;
    for (let i = 0; i < k; i++) total += row[i] = Math.exp(row[i]! - highest);
    for (let i = 0; i < k; i++) out.set(oi + i * out.strides[op.axis]!, row[i]! / total);
  });
}

/** Normalises the elements at `positions` (in x) and writes them (in out): the shared core of the three norms. */
function normalize(values: Float64Array, eps: number, centred: boolean): void {
  let mean = 0;
  if (centred) {
    for (const v of values) mean += v;
    mean /= values.length;
  }
  let square = 0;
  for (const v of values) square += (v - mean) ** 2;
  const scale = 1 / Math.sqrt(square / values.length + eps);
  for (let i = 0; i < values.length; i++) values[i] = (values[i]! - mean) * scale;
}

export function groupNorm(op: GroupNormOp, args: readonly View[]): void {
  const x = args[0]!;
  const out = args.at(-1)!;
  const [weight, bias] = args.slice(1, -1);
  const [n, c, ...rest] = x.shape as [number, number, ...number[]];
  const perGroup = c / op.groups;
  const block = [1, perGroup, ...rest];
  const values = new Float64Array(block.reduce((a, b) => a * b, 1));
  forEachIndex([n, op.groups], (index) => {
    const base = [index[0]!, index[1]! * perGroup, ...rest.map(() => 0)];
    const [xi, oi] = [at(x.strides, base), at(out.strides, base)];
    let i = 0;
    forEachIndex(block, (inner) => (values[i++] = x.get(xi + at(x.strides, inner))));
    normalize(values, op.eps, true);
    i = 0;
    forEachIndex(block, (inner) => {
      const channel = base[1]! + inner[1]!;
      let v = values[i++]!;
      if (weight) v *= weight.get(channel * weight.strides[0]!);
      if (bias) v += bias.get(channel * bias.strides[0]!);
      if (op.activation === 'silu') v /= 1 + Math.exp(-v);
      out.set(oi + at(out.strides, inner), v);
    });
  });
}

function lastAxisNorm(args: readonly View[], eps: number, centred: boolean): void {
  const x = args[0]!;
  const out = args.at(-1)!;
  const [weight, bias] = args.slice(1, -1);
  const d = x.shape.at(-1)!;
  const values = new Float64Array(d);
  forEachIndex([...x.shape.slice(0, -1), d === 0 ? 0 : 1], (base) => {
    const [xi, oi] = [at(x.strides, base), at(out.strides, base)];
    for (let i = 0; i < d; i++) values[i] = x.get(xi + i * x.strides.at(-1)!);
    normalize(values, eps, centred);
    for (let i = 0; i < d; i++) {
      let v = values[i]!;
      if (weight) v *= weight.get(i * weight.strides[0]!);
      if (bias) v += bias.get(i * bias.strides[0]!);
      out.set(oi + i * out.strides.at(-1)!, v);
    }
  });
}

export const layerNorm = (op: LayerNormOp, args: readonly View[]): void => lastAxisNorm(args, op.eps, true);
export const rmsNorm = (op: RmsNormOp, args: readonly View[]): void => lastAxisNorm(args, op.eps, false);
