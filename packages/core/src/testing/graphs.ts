// Random graphs, drawn by fast-check: programs of ops over a pool of values, for passes, plans and files. As with
// kernel cases the caller passes fast-check in; a program that does not fit its operands does something simpler
// instead.

import type * as FastCheck from 'fast-check';
import { tensor } from '../create.ts';
import type { Device } from '../device.ts';
import { elementCount } from '../layout.ts';
import { recordGraph } from '../graph/record.ts';
import type { Recording } from '../graph/record.ts';
import { conv2d } from '../ops/conv2d.ts';
import { cast, concat, pad, reshape, toFormat } from '../ops/copy.ts';
import { full } from '../ops/fill.ts';
import { map } from '../ops/map.ts';
import { linear, matmul } from '../ops/matmul.ts';
import { groupNorm, layerNorm } from '../ops/norm.ts';
import { activations, add, cos, mul, silu, sub, tanh } from '../ops/pointwise.ts';
import { mean } from '../ops/reduce.ts';
import { resize } from '../ops/resize.ts';
import { softmax } from '../ops/softmax.ts';
import type { Tensor } from '../tensor.ts';
import { buildInput } from './inputs.ts';

type Fc = typeof FastCheck.default;

/** Each step: what to do, and which values to do it to, counted back from the newest. */
export interface GraphProgram {
  readonly channelsLast: boolean;
  readonly steps: readonly (readonly [what: number, a: number, b: number])[];
}

/** `casts`: also float16 values, whose roundings a pass may leave out. */
export function graphArbitrary(fc: Fc, options: { casts: boolean }): FastCheck.Arbitrary<GraphProgram> {
  const what = fc.nat((options.casts ? instructions.length : instructions.length - 1) - 1);
  // Mostly the newest value, so that chains grow; sometimes an older one, so that values have several readers.
  const operand = fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.nat(7) });
  return fc.record({
    channelsLast: fc.boolean(),
    steps: fc.array(fc.tuple(what, operand, operand), { minLength: 2, maxLength: 16 }),
  });
}

const shapes = { x: [2, 8, 4, 4], y: [2, 8, 4, 4], row: [2, 8, 1, 1] } as const;
const weights = {
  linear: [8, 8],
  other: [8, 8],
  bias: [8],
  conv: [8, 8, 3, 3],
  point: [8, 8, 1, 1],
  square: [4, 4],
} as const;
type Weights = { readonly [K in keyof typeof weights]: Tensor };

/** The dimensions of values stay 1, 2, 4, 8 or 16, so that most ops fit most values. */
const instructions: readonly ((a: Tensor, b: Tensor, w: Weights, device: Device) => Tensor)[] = [
  (a) => silu(a),
  (a) => map(activations.gelu(['in', 0]), [a]),
  (a) => tanh(mul(a, 0.5)),
  (a) => add(a, 0.25),
  (a, b) => (broadcasts(a, b) ? add(a, b) : mul(a, -1)),
  (a, b) => (broadcasts(a, b) ? sub(mul(a, 0.5), b) : cos(a)),
  (a, b) => (broadcasts(b, a) ? map(['mul', ['in', 1], ['sigmoid', ['in', 0]]], [a, b]) : silu(a)),
  (a, _, w) => (a.rank >= 2 && a.shape.at(-1) === 8 ? linear(a, w.linear, { bias: w.bias }) : tanh(a)),
  (a, b, w) => (a.shape.at(-1) === 8 ? linear(a, w.linear, { residual: broadcasts(a, b) ? b : undefined }) : silu(a)),
  (a, _, w) => shared(a, (rows) => mul(linear(rows, w.linear), linear(rows, w.other))),
  (a, _, w) => shared(a, (rows) => add(linear(rows, w.linear, { bias: w.bias }), linear(rows, w.other, { bias: w.bias }))),
  (a, _, w) => (a.rank >= 2 && a.shape.at(-2) === 4 ? matmul(w.square, a) : tanh(a)),
  (a, _, w) => (isImage(a) ? conv2d(a, w.conv, { bias: w.bias, padding: 1 }) : tanh(a)),
  (a, _, w) => (isImage(a) ? conv2d(a, w.point) : add(a, 1)),
  (a, _, w) => (isImage(a) ? groupNorm(a, 4, { weight: w.bias, bias: w.bias }) : tanh(a)),
  (a, _, w) => silu(isImage(a) ? groupNorm(a, 2, { weight: w.bias, bias: w.bias }) : a),
  (a, _, w) => (a.shape.at(-1) === 8 ? layerNorm(a, { weight: w.bias }) : softmax(a)),
  (a) => a.permute(...a.shape.map((_, i) => a.rank - 1 - i)),
  (a) => (a.rank === 4 ? reshape(a, [a.shape[0]!, -1, a.shape[3]!]) : reshape(a, [-1])),
  (a) => (a.rank === 3 && a.elements === 256 ? reshape(a, [2, 4, 4, 8]).permute(0, 3, 1, 2) : softmax(a)),
  (a) => (a.shape.at(-1)! % 2 === 0 ? a.slice(-1, 0, a.shape.at(-1)! / 2) : a.alias()),
  (a) => (a.elements <= 512 ? concat([a, a], 0) : mean(a, { axes: [0], keepDims: true })),
  (a, _b, _w, device) => add(full(a.shape, 0.5, { device, dtype: a.dtype }), a),
  (a, _b, _w, device) => mul(a, mul(full([1], 2, { device }), 0.5)),
  (a) => mean(a, { axes: [a.rank - 1], keepDims: true }),
  (a) => (a.elements <= 512 ? pad(a, a.shape.map((d, i): [number, number] => (i === 0 ? [0, 0] : [0, d])), 1) : a.alias()),
  (a) => (a.rank === 4 && a.elements <= 512 ? resize(a, [a.shape[2]! * 2, a.shape[3]!]) : tanh(a)),
  (a) => (a.rank === 4 ? toFormat(a, a.memoryFormat === 'channelsLast' ? 'contiguous' : 'channelsLast') : silu(a)),
  (a) => cast(a, a.dtype === 'float16' ? 'float32' : 'float16'),
]; // prettier-ignore

/** Products of one value, of rows of eight. */
const shared = (a: Tensor, products: (rows: Tensor) => Tensor): Tensor =>
  a.elements % 8 === 0 ? products(reshape(a, [-1, 8])) : tanh(a);

const isImage = (t: Tensor): boolean => t.rank === 4 && t.shape[1] === 8;

/** True if b broadcasts to a. */
function broadcasts(a: Tensor, b: Tensor): boolean {
  const lead = a.rank - b.rank;
  return lead >= 0 && b.shape.every((d, i) => d === 1 || d === a.shape[lead + i]);
}

/** A recording with tensors for its inputs and weights. */
export interface RandomGraph extends Recording {
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly params: ReadonlyMap<string, Tensor>;
}

/**
 * Records a program and makes its inputs and weights on `device`; the caller's scope owns them. Weights do not let
 * values grow: the tolerances of sums ordered otherwise are for values about 1.
 */
export function buildGraph(program: GraphProgram, device: Device): RandomGraph {
  const layout = program.channelsLast ? 'channelsLast' : 'contiguous';
  const inputs = {
    x: buildInput({ shape: shapes.x, layout }, 1, device),
    y: buildInput({ shape: shapes.y, layout }, 2, device),
    row: buildInput({ shape: shapes.row }, 3, device),
    scale: tensor([0.75], { device }),
  };
  const params = new Map(
    Object.entries(weights).map(([name, shape], i) => {
      const given = buildInput({ shape }, 10 + i, device);
      return [name, shape.length > 1 ? mul(given, 0.5 / Math.sqrt(elementCount(shape) / shape[0])) : given];
    }),
  );
  const named = Object.fromEntries(params) as unknown as Weights;
  const recording = recordGraph(
    ({ x, y, row, scale }) => {
      const pool = [scale!, row!, y!, x!];
      for (const [what, a, b] of program.steps) {
        const pick = (back: number): Tensor => pool[pool.length - 1 - (back % pool.length)]!;
        pool.push(instructions[what]!(pick(a), pick(b), named, device));
      }
      const output = pool.at(-1)!;
      return { output, middle: pool[Math.floor((pool.length + 4) / 2)]! };
    },
    inputs,
    params,
  );
  return { ...recording, inputs, params };
}
