// Pointwise expressions as kernel text. Every distinct sub-expression becomes one `let`, for one float or four at a time.

import { exprKey } from '@darkroom/core/backend';
import type { DType, Expr } from '@darkroom/core';
import type { BinaryFn, UnaryFn } from '@darkroom/core/backend';
import { conversions } from './conversions.ts';
import { mathFunction, mathName } from './math.ts';
import type { MathFunction } from './math.ts';
import type { Shader } from './shader.ts';

export interface RenderInputs {
  /** Texts of inputs, run-time scalars and output coordinates; each of the width asked for but the last two. */
  input(i: number): string;
  scalar(i: number): string;
  index?(axis: number): string;
}

/** Statements that compute `e` and the name of the result; names start with `prefix`. */
// eslint-disable-next-line max-lines-per-function -- a case for each function of expressions
export function render(
  shader: Shader,
  e: Expr,
  inputs: RenderInputs,
  width: 1 | 4,
  prefix = 'e',
): { readonly code: string; readonly value: string } {
  const lines: string[] = [];
  const names = new Map<string, string>();
  const F = width === 1 ? 'f32' : 'vec4<f32>';
  const splat = (text: string): string => (width === 1 ? text : `${F}(${text})`);
  const math = (name: MathFunction): string => {
    for (const [fn, text] of mathFunction(name, width)) shader.use(fn, text);
    return mathName(name, width);
  };
  const bits = (name: 'inf' | 'nan'): string =>
    `bitcast<f32>(${shader.u32(name, name === 'inf' ? 0x7f800000 : 0x7fc00000)})`;
  const each = (text: (lane: string) => string): string =>
    width === 1 ? text('') : `${F}(${['.x', '.y', '.z', '.w'].map(text).join(', ')})`;

  const visit = (x: Expr): string => {
    const key = exprKey(x);
    const known = names.get(key);
    if (known !== undefined) return known;
    const text = emit(x);
    const name = `${prefix}${names.size}`; // after emit: what x is made of took its names there
    names.set(key, name);
    lines.push(`let ${name} = ${text};`);
    return name;
  };

  const emit = (x: Expr): string => {
    if (typeof x === 'number') return splat(literal(x, () => bits('inf')));
    switch (x[0]) {
      case 'in':
        return inputs.input(x[1]);
      case 'scalar':
        return splat(inputs.scalar(x[1]));
      case 'index':
        return inputs.index!(x[1]);
      case 'inf':
      case 'nan':
        return splat(bits(x[0]));
      case 'where': {
        const [c, a, b] = [visit(x[1]), visit(x[2]), visit(x[3])];
        return `select(${b}, ${a}, ${c} != ${splat('0.0')})`;
      }
      case 'cast': {
        const v = visit(x[2]);
        const lane = castOf(x[1], shader);
        return lane === undefined ? v : each((l) => lane(`${v}${l}`));
      }
    }
    if (x.length === 2) return unary(x[0], visit(x[1]));
    const [fn, p, q] = x as readonly [BinaryFn, Expr, Expr];
    const [a, b] = [visit(p), visit(q)];
    return binary(fn, a, b);
  };

  const truth = (condition: string): string => `select(${splat('0.0')}, ${splat('1.0')}, ${condition})`;
  const unary = (fn: UnaryFn, a: string): string => {
    switch (fn) {
      case 'neg':
        return `-${a}`;
      case 'rsqrt':
        return `inverseSqrt(${a})`;
      case 'sin':
      case 'cos':
        return `${math('sine')}(${a}, ${width === 1 ? 'i32' : 'vec4<i32>'}(${fn === 'sin' ? 0 : 1}))`;
      case 'exp':
        return `${math('exp_')}(${a})`;
      case 'tanh':
        return `${math('tanh_')}(${a})`;
      case 'erf':
      case 'sigmoid':
        return `${math(fn)}(${a})`;
      case 'not':
        return truth(`${a} == ${splat('0.0')}`);
      default:
        return `${fn}(${a})`; // abs, log, sqrt, floor, round (to even, in WGSL too)
    }
  };
  const binary = (fn: BinaryFn, a: string, b: string): string => {
    switch (fn) {
      case 'add':
        return `${a} + ${b}`;
      case 'sub':
        return `${a} - ${b}`;
      case 'mul':
        return `${a} * ${b}`;
      case 'div':
        return `${a} / ${b}`;
      case 'min':
        return `${math('min_nan')}(${a}, ${b})`;
      case 'max':
        return `${math('max_nan')}(${a}, ${b})`;
      case 'pow':
        bits('inf');
        bits('nan');
        math('power');
        return each((l) => `power(${a}${l}, ${b}${l})`);
      case 'and':
        return truth(`(${a} != ${splat('0.0')}) & (${b} != ${splat('0.0')})`);
      case 'or':
        return truth(`(${a} != ${splat('0.0')}) | (${b} != ${splat('0.0')})`);
      default: {
        const operator = { lt: '<', le: '<=', gt: '>', ge: '>=', eq: '==', ne: '!=' }[fn];
        return truth(`${a} ${operator} ${b}`);
      }
    }
  };
  const value = visit(e);
  return { code: lines.join('\n  '), value };
}

/** A float32 constant; always with a point or an exponent, which C++ asks for. */
function literal(x: number, infinity: () => string): string {
  const f = Math.fround(x);
  if (!Number.isFinite(f)) return f > 0 ? infinity() : `(-${infinity()})`;
  const digits = /[.e]/.test(`${Math.abs(f)}`) ? `${Math.abs(f)}` : `${Math.abs(f)}.0`;
  return f < 0 || Object.is(f, -0) ? `(-${digits}f)` : `${digits}f`;
}

/** Rounds a value as a store into `dtype` would; undefined where nothing changes. */
function castOf(dtype: DType, shader: Shader): ((value: string) => string) | undefined {
  const add = (...names: (keyof typeof conversions)[]): void => {
    for (const n of names) shader.use(n, conversions[n]);
  };
  switch (dtype) {
    case 'float32':
      return undefined;
    case 'float16':
      add('from_f16', 'to_f16');
      return (v) => `from_f16(to_f16(${v}))`;
    case 'bfloat16':
      add('from_bf16', 'to_bf16');
      return (v) => `from_bf16(to_bf16(${v}))`;
    case 'int32':
      add('to_i32');
      return (v) => `f32(to_i32(${v}))`;
    case 'uint8':
      add('to_u8');
      return (v) => `f32(to_u8(${v}))`;
    case 'bool':
      add('to_bool');
      return (v) => `f32(to_bool(${v}))`;
  }
}
