// The code of a map's expression: values are vectors of four float32, booleans 1 and 0.

import { exprKey } from '@darkroom/core/backend';
import type { Expr } from '@darkroom/core';
import type { FunctionBuilder, Local } from './emitter.ts';
import { erf, exp, fromHalf, sigmoid, tanh, toBfloat, toHalf } from './vector-math.ts';

/** Inputs and scalars that a kernel takes at most. */
export const maxInputs = 6;
export const maxScalars = 8;

/** True if the SIMD kernels compute `e`: log, sin, cos, pow and output coordinates are the reference kernel's. */
export function supportedExpr(e: Expr): boolean {
  if (typeof e === 'number') return true;
  switch (e[0]) {
    case 'index':
    case 'log':
    case 'sin':
    case 'cos':
    case 'pow':
      return false;
    case 'in':
      return e[1] < maxInputs;
    case 'scalar':
      return e[1] < maxScalars;
    case 'cast':
      return (e[1] === 'float32' || e[1] === 'float16' || e[1] === 'bfloat16') && supportedExpr(e[2]);
    default:
      return (e.slice(1) as Expr[]).every((c) => supportedExpr(c));
  }
}

/** Emits an expression; repeated subtrees are computed once. */
export class ExprEmitter {
  readonly #f: FunctionBuilder;
  readonly #load: (input: number) => void;
  readonly #args: Local;
  readonly #scalarsAt: number;
  readonly #known = new Map<string, Local>();

  constructor(f: FunctionBuilder, args: Local, scalarsAt: number, load: (input: number) => void) {
    this.#f = f;
    this.#args = args;
    this.#scalarsAt = scalarsAt;
    this.#load = load;
  }

  emit(e: Expr): void {
    const f = this.#f;
    if (typeof e === 'number') {
      f.f32x4(e);
      return;
    }
    if (e[0] === 'inf' || e[0] === 'nan') {
      f.f32x4(e[0] === 'inf' ? Infinity : NaN);
      return;
    }
    const key = exprKey(e);
    const known = this.#known.get(key);
    if (known) {
      f.get(known);
      return;
    }
    this.#compute(e);
    const value = f.local('v128');
    f.tee(value);
    this.#known.set(key, value);
  }

  #value(e: Expr): Local {
    const v = this.#f.local('v128');
    this.emit(e);
    this.#f.set(v);
    return v;
  }

  /** A lane mask instead of 1 and 0. */
  #mask(e: Expr): void {
    const f = this.#f;
    const compare = typeof e === 'number' ? undefined : comparisons[e[0]];
    if (compare) {
      const [, a, b] = e as readonly [string, Expr, Expr];
      this.emit(a);
      this.emit(b);
      f.op(compare);
    } else {
      this.emit(e);
      f.f32x4(0).op('f32x4.ne');
    }
  }

  #compute(e: Exclude<Expr, number>): void {
    const f = this.#f;
    const [fn, a, b, c] = e as readonly [string, Expr, Expr, Expr];
    switch (fn) {
      case 'in':
        return this.#load(a as number);
      case 'scalar':
        return void f.get(this.#args).mem('v128.load32_splat', (this.#scalarsAt + (a as number)) * 4);
      case 'where':
        this.emit(b);
        this.emit(c);
        this.#mask(a);
        return void f.op('v128.bitselect');
      case 'cast': {
        const v = this.#value(b);
        if ((a as unknown) === 'float32') return void f.get(v);
        const bits = f.local('v128');
        if ((a as unknown) === 'float16') {
          toHalf(f, v);
          f.set(bits);
          return fromHalf(f, bits);
        }
        toBfloat(f, v);
        return void f.i32(16).op('i32x4.shl');
      }
      case 'and':
      case 'or':
        this.#mask(a);
        this.#mask(b);
        return void f
          .op(fn === 'and' ? 'v128.and' : 'v128.or')
          .f32x4(1)
          .op('v128.and');
      case 'not':
        this.emit(a);
        return void f.f32x4(0).op('f32x4.eq').f32x4(1).op('v128.and');
      case 'rsqrt':
        f.f32x4(1);
        this.emit(a);
        return void f.op('f32x4.sqrt').op('f32x4.div');
      case 'exp':
        return exp(f, this.#value(a));
      case 'sigmoid':
        return sigmoid(f, this.#value(a));
      case 'tanh':
        return tanh(f, this.#value(a));
      case 'erf':
        return erf(f, this.#value(a));
    }
    if (comparisons[fn]) {
      this.#mask(e);
      return void f.f32x4(1).op('v128.and');
    }
    const single = unaries[fn];
    this.emit(a);
    if (single) return void f.op(single);
    this.emit(b);
    f.op(binaries[fn]!);
  }
}

const comparisons: Readonly<
  Record<string, 'f32x4.lt' | 'f32x4.le' | 'f32x4.gt' | 'f32x4.ge' | 'f32x4.eq' | 'f32x4.ne'>
> = {
  lt: 'f32x4.lt',
  le: 'f32x4.le',
  gt: 'f32x4.gt',
  ge: 'f32x4.ge',
  eq: 'f32x4.eq',
  ne: 'f32x4.ne',
};
const unaries: Readonly<
  Record<string, 'f32x4.neg' | 'f32x4.abs' | 'f32x4.sqrt' | 'f32x4.floor' | 'f32x4.nearest'>
> = {
  neg: 'f32x4.neg',
  abs: 'f32x4.abs',
  sqrt: 'f32x4.sqrt',
  floor: 'f32x4.floor',
  round: 'f32x4.nearest',
};
const binaries: Readonly<
  Record<string, 'f32x4.add' | 'f32x4.sub' | 'f32x4.mul' | 'f32x4.div' | 'f32x4.min' | 'f32x4.max'>
> = {
  add: 'f32x4.add',
  sub: 'f32x4.sub',
  mul: 'f32x4.mul',
  div: 'f32x4.div',
  min: 'f32x4.min',
  max: 'f32x4.max',
};
