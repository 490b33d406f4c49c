// Named pointwise functions: a table of expressions over map. No kernels here.

import type { Device } from '../device.ts';
import type { DType } from '../dtype.ts';
import { isFloat } from '../dtype.ts';
import { ShapeError } from '../errors.ts';
import type { BinaryFn, Expr, UnaryFn } from '../expr.ts';
import { scope } from '../scope.ts';
import type { Tensor } from '../tensor.ts';
import { map } from './map.ts';

const x: Expr = ['in', 0];
const y: Expr = ['in', 1];

/** A tensor, or a plain number (weakly typed: it never changes the dtype of a float tensor). */
export type Operand = Tensor | number;

function binary(fn: BinaryFn, a: Operand, b: Operand, dtype?: DType): Tensor {
  const options = dtype ? { dtype } : {};
  if (typeof a === 'number') {
    if (typeof b === 'number') throw new ShapeError(`${fn}: needs at least one tensor`);
    return map([fn, ['scalar', 0], x], [b], { ...weak(b, a), scalars: [a], ...options });
  }
  if (typeof b === 'number')
    return map([fn, x, ['scalar', 0]], [a], { ...weak(a, b), scalars: [b], ...options });
  return map([fn, x, y], [a, b], options);
}

/** An integer tensor with a fractional number computes in float32. */
function weak(t: Tensor, n: number): { dtype?: DType } {
  return isFloat(t.dtype) || Number.isInteger(n) ? {} : { dtype: 'float32' };
}

function unary(fn: UnaryFn): (a: Tensor) => Tensor {
  return (a) => map([fn, x], [a], isFloat(a.dtype) ? {} : { dtype: 'float32' });
}

export const add = (a: Operand, b: Operand): Tensor => binary('add', a, b);
export const sub = (a: Operand, b: Operand): Tensor => binary('sub', a, b);
export const mul = (a: Operand, b: Operand): Tensor => binary('mul', a, b);
export const div = (a: Operand, b: Operand): Tensor => binary('div', a, b);
export const minimum = (a: Operand, b: Operand): Tensor => binary('min', a, b);
export const maximum = (a: Operand, b: Operand): Tensor => binary('max', a, b);
export const pow = (a: Operand, b: Operand): Tensor => binary('pow', a, b);
/** Comparisons give bool. */
export const less = (a: Operand, b: Operand): Tensor => binary('lt', a, b, 'bool');
export const equal = (a: Operand, b: Operand): Tensor => binary('eq', a, b, 'bool');

export const neg: (a: Tensor) => Tensor = (a) => map(['neg', x], [a]);
export const abs: (a: Tensor) => Tensor = (a) => map(['abs', x], [a]);
export const exp: (a: Tensor) => Tensor = unary('exp');
export const log: (a: Tensor) => Tensor = unary('log');
export const sqrt: (a: Tensor) => Tensor = unary('sqrt');
export const rsqrt: (a: Tensor) => Tensor = unary('rsqrt');
export const sin: (a: Tensor) => Tensor = unary('sin');
export const cos: (a: Tensor) => Tensor = unary('cos');
export const tanh: (a: Tensor) => Tensor = unary('tanh');
export const sigmoid: (a: Tensor) => Tensor = unary('sigmoid');

/** Expressions of activations, for maps and for epilogues. `of` is the pre-activation. */
export const activations = {
  silu: (of: Expr): Expr => ['mul', of, ['sigmoid', of]],
  gelu: (of: Expr): Expr => ['mul', ['mul', 0.5, of], ['add', 1, ['erf', ['mul', of, Math.SQRT1_2]]]],
  geluTanh: (of: Expr): Expr => [
    'mul',
    ['mul', 0.5, of],
    [
      'add',
      1,
      ['tanh', ['mul', Math.sqrt(2 / Math.PI), ['add', of, ['mul', 0.044715, ['mul', of, ['mul', of, of]]]]]],
    ],
  ],
  quickGelu: (of: Expr): Expr => ['mul', of, ['sigmoid', ['mul', 1.702, of]]],
  relu: (of: Expr): Expr => ['max', of, 0],
} as const;
export type Activation = keyof typeof activations;

export const silu = (a: Tensor): Tensor => map(activations.silu(x), [a]);
/** The exact gelu, by erf. */
export const gelu = (a: Tensor): Tensor => map(activations.gelu(x), [a]);
export const geluTanh = (a: Tensor): Tensor => map(activations.geluTanh(x), [a]);
export const quickGelu = (a: Tensor): Tensor => map(activations.quickGelu(x), [a]);

/** a [..., 2d] → first half × gelu(second half), [..., d]. */
export function geglu(a: Tensor): Tensor {
  return scope(() => map(['mul', x, activations.gelu(y)], a.chunk(2, -1)));
}

export const clamp = (a: Tensor, min: number, max: number): Tensor =>
  map(['min', ['max', x, ['scalar', 0]], ['scalar', 1]], [a], { scalars: [min, max] });

/** condition ≠ 0 ? a : b. */
export const where = (condition: Tensor, a: Tensor, b: Tensor): Tensor =>
  map(['where', ['in', 0], ['in', 1], ['in', 2]], [condition, a, b], { dtype: a.dtype });

/** Σ coefficients[i] · tensors[i] in one pass, accumulated in float32, in the dtype of the first tensor. */
export function linearCombination(tensors: readonly Tensor[], coefficients: readonly number[]): Tensor {
  if (tensors.length === 0 || tensors.length !== coefficients.length) {
    throw new ShapeError(
      `linearCombination: ${tensors.length} tensors but ${coefficients.length} coefficients`,
    );
  }
  const terms = tensors.map((_, i): Expr => ['mul', ['scalar', i], ['in', i]]);
  const sum = terms.reduce((a, b): Expr => ['add', a, b]);
  return map(sum, tensors, { scalars: coefficients, dtype: tensors[0]!.dtype });
}

/** start, start + step, … : `count` values. */
export function arange(
  count: number,
  options: { device: Device; start?: number; step?: number; dtype?: DType },
): Tensor {
  const expr: Expr = ['add', ['scalar', 0], ['mul', ['scalar', 1], ['index', 0]]];
  return map(expr, [], {
    shape: [count],
    scalars: [options.start ?? 0, options.step ?? 1],
    dtype: options.dtype ?? 'float32',
    device: options.device,
  });
}
