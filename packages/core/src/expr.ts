// Pointwise expressions: JSON trees over inputs, run-time scalars, output coordinates and constants.
// All pointwise work of the framework is one of these, so fusing is composing. This file builds, hashes and
// evaluates them (the definition); rendering to WebAssembly, WGSL or CUDA C is the backends' business.

import type { DType } from './dtype.ts';
import { roundTo } from './dtype.ts';
import { FormatError } from './errors.ts';

/** Constants that JSON has no number for. */
export const nullaryFns = ['inf', 'nan'] as const;
/** Functions of one expression. */
export const unaryFns = [
  'neg', 'abs', 'exp', 'log', 'sqrt', 'rsqrt', 'sin', 'cos', 'tanh', 'erf', 'sigmoid', 'floor', 'round', 'not',
] as const; // prettier-ignore
/** Functions of two expressions. */
export const binaryFns = [
  'add', 'sub', 'mul', 'div', 'min', 'max', 'pow', 'lt', 'le', 'gt', 'ge', 'eq', 'ne', 'and', 'or',
] as const; // prettier-ignore

/** The name of a constant of `nullaryFns`. */
export type NullaryFn = (typeof nullaryFns)[number];
/** The name of a function of one expression. */
export type UnaryFn = (typeof unaryFns)[number];
/** The name of a function of two expressions. */
export type BinaryFn = (typeof binaryFns)[number];

/**
 * number: a constant (finite; use ['inf'], ['neg', ['inf']], ['nan'] for the rest).
 * `['in', i]`: element of input i. `['scalar', i]`: run-time number i of the op; never part of a kernel's key.
 * `['index', axis]`: output coordinate along axis. Comparisons and logic give 1 or 0; `where` tests ≠ 0.
 * `round` rounds half to even. `min`/`max` propagate NaN. ['cast', dtype, e] rounds e as a store would.
 */
export type Expr =
  | number
  | readonly ['in', number]
  | readonly ['scalar', number]
  | readonly ['index', number]
  | readonly [NullaryFn]
  | readonly [UnaryFn, Expr]
  | readonly [BinaryFn, Expr, Expr]
  | readonly ['where', Expr, Expr, Expr]
  | readonly ['cast', DType, Expr];

const unary = new Set<string>(unaryFns);
const binary = new Set<string>(binaryFns);
const nullary = new Set<string>(nullaryFns);

/** A short text that is equal for equal expressions; part of kernel keys. */
export function exprKey(e: Expr): string {
  if (typeof e === 'number') return JSON.stringify(e);
  let key = keys.get(e);
  if (key === undefined) keys.set(e, (key = JSON.stringify(e)));
  return key;
}
/** Keys by expression, since expressions are immutable and epilogues share them. */
const keys = new WeakMap<object, string>();

/** Sub-expressions, in argument order. */
export function children(e: Expr): readonly Expr[] {
  if (typeof e === 'number') return [];
  if (e[0] === 'cast') return [e[2]];
  if (e[0] === 'in' || e[0] === 'scalar' || e[0] === 'index') return [];
  return e.slice(1) as readonly Expr[];
}

/** Copies `e`, giving every leaf to `replace`; undefined keeps the leaf. */
export function mapLeaves(e: Expr, replace: (leaf: Expr) => Expr | undefined): Expr {
  const kids = children(e);
  if (kids.length === 0) return replace(e) ?? e;
  const mapped = kids.map((kid) => mapLeaves(kid, replace));
  const head = e as readonly [string, ...unknown[]];
  return (head[0] === 'cast' ? ['cast', head[1], mapped[0]] : [head[0], ...mapped]) as unknown as Expr;
}

/** `outer` with its input i replaced by `inputs[i]`: how fusion composes. */
export function compose(outer: Expr, inputs: readonly Expr[]): Expr {
  return mapLeaves(outer, (leaf) =>
    typeof leaf !== 'number' && leaf[0] === 'in' ? inputs[leaf[1]] : undefined,
  );
}

/** Number of inputs an expression reads: 1 + the highest input index. */
export function inputCount(e: Expr): number {
  if (typeof e !== 'number' && e[0] === 'in') return e[1] + 1;
  return children(e).reduce<number>((n, kid) => Math.max(n, inputCount(kid)), 0);
}

/** Number of run-time scalars an expression reads: 1 + the highest scalar index. */
export function scalarCount(e: Expr): number {
  if (typeof e !== 'number' && e[0] === 'scalar') return e[1] + 1;
  return children(e).reduce<number>((n, kid) => Math.max(n, scalarCount(kid)), 0);
}

/** Scalar functions in `e`, for cost estimates. */
export function opCount(e: Expr): number {
  const kids = children(e);
  return kids.reduce<number>((n, kid) => n + opCount(kid), kids.length === 0 ? 0 : 1);
}

/** Checks that `value` (from a file) is an expression with at most `limit` nodes; throws FormatError. */
export function validateExpr(value: unknown, where: string, limit = 4096): Expr {
  let nodes = 0;
  const visit = (v: unknown, depth: number): void => {
    if (++nodes > limit || depth > 256)
      throw new FormatError(`${where}: expression has more than ${limit} nodes`);
    if (typeof v === 'number' && Number.isFinite(v)) return;
    const bad = (): never => {
      throw new FormatError(`${where}: not a pointwise expression: ${JSON.stringify(v)?.slice(0, 80)}`);
    };
    if (!Array.isArray(v)) return bad();
    const [fn, ...args] = v as [unknown, ...unknown[]];
    if (typeof fn !== 'string') return bad();
    if (fn === 'in' || fn === 'scalar' || fn === 'index') {
      if (args.length !== 1 || !Number.isInteger(args[0]) || (args[0] as number) < 0) bad();
      return;
    }
    const arity = nullary.has(fn) ? 0 : unary.has(fn) ? 1 : binary.has(fn) ? 2 : fn === 'where' ? 3 : -1;
    if (fn === 'cast') {
      if (
        args.length !== 2 ||
        !['float32', 'float16', 'bfloat16', 'int32', 'uint8', 'bool'].includes(args[0] as string)
      )
        bad();
      visit(args[1], depth + 1);
    } else {
      if (args.length !== arity) bad();
      for (const a of args) visit(a, depth + 1);
    }
  };
  visit(value, 0);
  return value as Expr;
}

/** The values that an expression reads at one output element. */
export interface ExprScope {
  readonly inputs: ArrayLike<number>;
  readonly scalars: ArrayLike<number>;
  readonly index: ArrayLike<number>;
}

/** The definition of every scalar function, in double precision. */
export function evaluate(e: Expr, s: ExprScope): number {
  if (typeof e === 'number') return e;
  switch (e[0]) {
    case 'in':
      return s.inputs[e[1]]!;
    case 'scalar':
      return s.scalars[e[1]]!;
    case 'index':
      return s.index[e[1]]!;
    case 'inf':
      return Infinity;
    case 'nan':
      return NaN;
    case 'where':
      return evaluate(e[1], s) !== 0 ? evaluate(e[2], s) : evaluate(e[3], s);
    case 'cast':
      return roundTo(evaluate(e[2], s), e[1]);
  }
  if (e.length === 2) return unaryDefinitions[e[0]](evaluate(e[1], s));
  const [fn, a, b] = e as readonly [BinaryFn, Expr, Expr];
  return binaryDefinitions[fn](evaluate(a, s), evaluate(b, s));
}

const unaryDefinitions: Readonly<Record<UnaryFn, (x: number) => number>> = {
  neg: (x) => -x,
  abs: Math.abs,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  erf,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  floor: Math.floor,
  round: (x) => {
    const r = Math.round(x); // half up; correct the ties
    return Math.abs(x % 1) === 0.5 && r % 2 !== 0 ? r - 1 : r;
  },
  not: (x) => (x === 0 ? 1 : 0),
};

const binaryDefinitions: Readonly<Record<BinaryFn, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: Math.min,
  max: Math.max,
  pow: Math.pow,
  lt: (a, b) => (a < b ? 1 : 0),
  le: (a, b) => (a <= b ? 1 : 0),
  gt: (a, b) => (a > b ? 1 : 0),
  ge: (a, b) => (a >= b ? 1 : 0),
  eq: (a, b) => (a === b ? 1 : 0),
  ne: (a, b) => (a !== b ? 1 : 0),
  and: (a, b) => (a !== 0 && b !== 0 ? 1 : 0),
  or: (a, b) => (a !== 0 || b !== 0 ? 1 : 0),
};

/** erf to double precision: its Maclaurin series below 3, the continued fraction of erfc above. */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (Number.isNaN(x)) return NaN;
  if (a > 6) return Math.sign(x);
  if (a < 3) {
    let term = x;
    let sum = x;
    for (let n = 1; n < 100 && Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  return Math.sign(x) * (1 - erfc(a));
}

/** erfc for x ≥ 2.5 by Lentz's continued fraction; keeps relative precision in the tail. */
function erfc(x: number): number {
  let fraction = x;
  for (let k = 60; k >= 1; k--) fraction = x + k / 2 / fraction;
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * fraction);
}
