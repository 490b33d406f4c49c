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

/** fn(a, b) of tensors and numbers; each form has one expression object, so that dispatch finds its cached kernels. */
function binary(fn: BinaryFn, dtype?: DType): (a: Operand, b: Operand) => Tensor {
  const options = dtype ? { dtype } : {};
  const [both, right, left]: readonly Expr[] = [[fn, x, y], [fn, ['scalar', 0], x], [fn, x, ['scalar', 0]]]; // prettier-ignore
  return (a, b) => {
    if (typeof a === 'number') {
      if (typeof b === 'number') throw new ShapeError(`${fn}: needs at least one tensor`);
      return map(right!, [b], { ...weak(b, a), scalars: [a], ...options });
    }
    if (typeof b === 'number') return map(left!, [a], { ...weak(a, b), scalars: [b], ...options });
    return map(both!, [a, b], options);
  };
}

/** An integer tensor with a fractional number computes in float32. */
function weak(t: Tensor, n: number): { dtype?: DType } {
  return isFloat(t.dtype) || Number.isInteger(n) ? {} : { dtype: 'float32' };
}

function unary(fn: UnaryFn): (a: Tensor) => Tensor {
  const expr: Expr = [fn, x];
  return (a) => map(expr, [a], isFloat(a.dtype) ? {} : { dtype: 'float32' });
}

/** One expression for all calls. */
function map1(expr: Expr): (a: Tensor) => Tensor {
  return (a) => map(expr, [a]);
}

/** a + b; shapes broadcast, dtypes promote (so for all functions of two operands). */
export const add: (a: Operand, b: Operand) => Tensor = binary('add');
/** a - b. */
export const sub: (a: Operand, b: Operand) => Tensor = binary('sub');
/** a · b. */
export const mul: (a: Operand, b: Operand) => Tensor = binary('mul');
/** a / b. */
export const div: (a: Operand, b: Operand) => Tensor = binary('div');
/** The smaller of a and b. */
export const minimum: (a: Operand, b: Operand) => Tensor = binary('min');
/** The larger of a and b. */
export const maximum: (a: Operand, b: Operand) => Tensor = binary('max');
/** a to the power of b. */
export const pow: (a: Operand, b: Operand) => Tensor = binary('pow');
/** Comparisons give bool. */
export const less: (a: Operand, b: Operand) => Tensor = binary('lt', 'bool');
/** a = b as bool. */
export const equal: (a: Operand, b: Operand) => Tensor = binary('eq', 'bool');

/** -a. */
export const neg: (a: Tensor) => Tensor = map1(['neg', x]);
/** The absolute value. */
export const abs: (a: Tensor) => Tensor = map1(['abs', x]);
/** e to the power of a; float32 for integers (so for the functions below). */
export const exp: (a: Tensor) => Tensor = unary('exp');
/** The natural logarithm. */
export const log: (a: Tensor) => Tensor = unary('log');
/** The square root. */
export const sqrt: (a: Tensor) => Tensor = unary('sqrt');
/** 1 / √a. */
export const rsqrt: (a: Tensor) => Tensor = unary('rsqrt');
/** The sine of radians. */
export const sin: (a: Tensor) => Tensor = unary('sin');
/** The cosine of radians. */
export const cos: (a: Tensor) => Tensor = unary('cos');
/** The hyperbolic tangent. */
export const tanh: (a: Tensor) => Tensor = unary('tanh');
/** 1 / (1 + e^-a). */
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
/** The name of an activation. */
export type Activation = keyof typeof activations;

/** a · sigmoid(a). */
export const silu: (a: Tensor) => Tensor = map1(activations.silu(x));
/** The exact gelu, by erf. */
export const gelu: (a: Tensor) => Tensor = map1(activations.gelu(x));
/** The gelu by its tanh approximation. */
export const geluTanh: (a: Tensor) => Tensor = map1(activations.geluTanh(x));
/** a · sigmoid(1.702 a). */
export const quickGelu: (a: Tensor) => Tensor = map1(activations.quickGelu(x));

const gated: Expr = ['mul', x, activations.gelu(y)];
/** a [..., 2d] → first half × gelu(second half), [..., d]. */
export function geglu(a: Tensor): Tensor {
  return scope(() => map(gated, a.chunk(2, -1)));
}

const clamped: Expr = ['min', ['max', x, ['scalar', 0]], ['scalar', 1]];
/** Values brought into [min, max]. */
export const clamp = (a: Tensor, min: number, max: number): Tensor =>
  map(clamped, [a], { scalars: [min, max] });

const chosen: Expr = ['where', ['in', 0], ['in', 1], ['in', 2]];
/** condition ≠ 0 ? a : b. */
export const where = (condition: Tensor, a: Tensor, b: Tensor): Tensor =>
  map(chosen, [condition, a, b], { dtype: a.dtype });

/** Σ coefficients[i] · tensors[i] in one kernel, accumulated in float32, in the dtype of the first tensor. */
export function linearCombination(tensors: readonly Tensor[], coefficients: readonly number[]): Tensor {
  if (tensors.length === 0 || tensors.length !== coefficients.length) {
    throw new ShapeError(
      `linearCombination: ${tensors.length} tensors but ${coefficients.length} coefficients`,
    );
  }
  return map(weightedSum(tensors.length), tensors, { scalars: coefficients, dtype: tensors[0]!.dtype });
}

/** By number of terms; schedulers add a few. */
const weightedSums: Expr[] = [];

function weightedSum(count: number): Expr {
  const known = weightedSums[count];
  if (known !== undefined) return known;
  const terms = Array.from({ length: count }, (_, i): Expr => ['mul', ['scalar', i], ['in', i]]);
  return (weightedSums[count] = terms.reduce((a, b): Expr => ['add', a, b]));
}

const counted: Expr = ['add', ['scalar', 0], ['mul', ['scalar', 1], ['index', 0]]];
/** start, start + step, … : `count` values. */
export function arange(
  count: number,
  options: { device: Device; start?: number; step?: number; dtype?: DType },
): Tensor {
  return map(counted, [], {
    shape: [count],
    scalars: [options.start ?? 0, options.step ?? 1],
    dtype: options.dtype ?? 'float32',
    device: options.device,
  });
}
