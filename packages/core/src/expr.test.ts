import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Expr } from './expr.ts';
import {
  binaryFns,
  compose,
  erf,
  evaluate,
  exprKey,
  inputCount,
  scalarCount,
  unaryFns,
  validateExpr,
} from './expr.ts';

const exprs: fc.Arbitrary<Expr> = fc.letrec<{ e: Expr }>((tie) => ({
  e: fc.oneof(
    { maxDepth: 5 },
    fc.integer({ min: -4, max: 4 }),
    fc.nat(2).map((i): Expr => ['in', i]),
    fc.nat(1).map((i): Expr => ['scalar', i]),
    fc.tuple(fc.constantFrom(...unaryFns), tie('e')).map(([fn, a]): Expr => [fn, a]),
    fc.tuple(fc.constantFrom(...binaryFns), tie('e'), tie('e')).map(([fn, a, b]): Expr => [fn, a, b]),
    fc.tuple(tie('e'), tie('e'), tie('e')).map(([c, a, b]): Expr => ['where', c, a, b]),
    tie('e').map((a): Expr => ['cast', 'float16', a]),
  ),
})).e;

const scope = (inputs: readonly number[]) => ({ inputs, scalars: [0.5, -2], index: [0, 1] });

test('composing equals evaluating in two steps', () => {
  fc.assert(
    fc.property(exprs, exprs, exprs, exprs, (outer, a, b, c) => {
      const inputs = [0.3, -1.2, 2];
      const inner = [a, b, c].map((e) => evaluate(e, scope(inputs)));
      expect(evaluate(compose(outer, [a, b, c]), scope(inputs))).toEqual(evaluate(outer, scope(inner)));
    }),
  );
});

test('expressions survive JSON and pass validation; counts are bounds', () => {
  fc.assert(
    fc.property(exprs, (e) => {
      const copy = validateExpr(JSON.parse(exprKey(e)), 'test');
      expect(exprKey(copy)).toBe(exprKey(e));
      expect(inputCount(e)).toBeLessThanOrEqual(3);
      expect(scalarCount(e)).toBeLessThanOrEqual(2);
    }),
  );
});

test('what is not an expression is refused', () => {
  for (const bad of [
    null,
    'x',
    [],
    ['eval', 1],
    ['add', 1],
    ['in', -1],
    ['in', 0.5],
    [['add']],
    { a: 1 },
    ['cast', 'int7', 1],
  ]) {
    expect(() => validateExpr(bad, 'file')).toThrow('file: not a pointwise expression');
  }
  let deep: Expr = 1;
  for (let i = 0; i < 300; i++) deep = ['neg', deep];
  expect(() => validateExpr(deep, 'file')).toThrow('more than');
});

test('erf agrees with published values', () => {
  // Abramowitz & Stegun, table 7.1.
  for (const [x, want] of [
    [0, 0],
    [0.5, 0.5204998778],
    [1, 0.8427007929],
    [2, 0.995322265],
    [3, 0.9999779095],
    [-1, -0.8427007929],
  ] as const) {
    expect(Math.abs(erf(x) - want)).toBeLessThan(1e-10);
  }
  expect(erf(Infinity)).toBe(1);
});

test('round is half to even', () => {
  expect([0.5, 1.5, 2.5, -0.5, -1.5, 2.4].map((v) => evaluate(['round', v], scope([])) + 0)).toEqual([
    0, 2, 2, 0, -2, 2,
  ]);
});
