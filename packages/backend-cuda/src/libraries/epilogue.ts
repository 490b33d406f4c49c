// A product's epilogue in the form of libraries: activation(scale · accumulator + Σ factor · input).

import { activations } from '@darkroom/core';
import { children, exprKey } from '@darkroom/core/backend';
import type { Activation, Expr } from '@darkroom/core';

export interface Term {
  /** Index of an input of the expression: 1 is the op's argument 2, and so on. */
  readonly input: number;
  readonly factor: number;
}
export interface LinearEpilogue {
  /** Of the accumulator. */
  readonly scale: number;
  readonly terms: readonly Term[];
  readonly activation?: Activation;
}

/** The expression in this form; undefined where it has another. */
export function linearEpilogue(expr: Expr = ['in', 0]): LinearEpilogue | undefined {
  const found = activationOf(expr);
  const terms = sumOf(found?.of ?? expr);
  const [scale, ...others] = terms?.filter((t) => t.input === 0).map((t) => t.factor) ?? [];
  if (!terms || scale === undefined || others.length > 0) return undefined;
  const inputs = terms.filter((t) => t.input !== 0);
  if (new Set(inputs.map((t) => t.input)).size !== inputs.length) return undefined;
  return { scale, terms: inputs, ...(found && { activation: found.activation }) };
}

/** The activation that an expression is, and of what. */
function activationOf(expr: Expr): { activation: Activation; of: Expr } | undefined {
  const inner = children(expr);
  const candidates = [...inner, ...inner.flatMap((e) => children(e))];
  const key = exprKey(expr);
  for (const activation of Object.keys(activations) as Activation[]) {
    const of = candidates.find((e) => exprKey(activations[activation](e)) === key);
    if (of !== undefined) return { activation, of };
  }
  return undefined;
}

function sumOf(expr: Expr): readonly Term[] | undefined {
  if (typeof expr === 'number') return undefined;
  if (expr[0] === 'in') return [{ input: expr[1], factor: 1 }];
  if (expr[0] === 'add') {
    const [a, b] = [sumOf(expr[1]), sumOf(expr[2])];
    return a && b && [...a, ...b];
  }
  if (expr[0] !== 'mul') return undefined;
  const [number, other] = typeof expr[1] === 'number' ? [expr[1], expr[2]] : [expr[2], expr[1]];
  return typeof number === 'number'
    ? sumOf(other)?.map((t) => ({ ...t, factor: t.factor * number }))
    : undefined;
}
