// foldConstants (exact): computes values that depend on no input and no weight. Fills that maps read become numbers of
// the expressions, maps of numbers only become fills, and arithmetic on numbers is done here where float32 holds
// operands and result exactly, so that no backend could give another one.

import type { BinaryFn, Expr, UnaryFn } from '../../expr.ts';
import { children, compose, evaluate, mapLeaves } from '../../expr.ts';
import { roundTo } from '../../dtype.ts';
import type { FillOp } from '../../ops/fill.ts';
import type { MapOp } from '../../ops/map.ts';
import type { GraphNode } from '../graph.ts';
import { eliminateDead } from './eliminate-dead.ts';
import { replaced, rewriteNodes, valuesOf } from './rewrite.ts';
import type { Pass } from './rewrite.ts';

/** Functions whose float32 result is the exact one, rounded. */
const exactFns: ReadonlySet<string> = new Set<BinaryFn | UnaryFn>([
  'add', 'sub', 'mul', 'div', 'min', 'max', 'neg', 'abs', 'floor', 'round', 'lt', 'le', 'gt', 'ge', 'eq', 'ne', 'and', 'or', 'not',
]); // prettier-ignore

const isExact = (e: Expr): e is number => typeof e === 'number' && Number.isFinite(e) && Math.fround(e) === e;
const nowhere = { inputs: [], scalars: [], index: [] };

/** The expression with exact arithmetic on numbers done, and ·1, /1 and -0 left out. */
export function foldExpr(e: Expr): Expr {
  if (typeof e === 'number' || children(e).length === 0) return e;
  const head = e as readonly [string, ...unknown[]];
  const kids = children(e).map((kid) => foldExpr(kid));
  const folded = (head[0] === 'cast' ? ['cast', head[1], kids[0]] : [head[0], ...kids]) as unknown as Expr;
  const [a, b] = kids as [Expr, Expr | undefined];
  if ((head[0] === 'mul' || head[0] === 'div') && b === 1) return a;
  if (head[0] === 'mul' && a === 1) return b!;
  // x - 0 is x for every x; x - (-0) is not (0 for x = -0).
  if (head[0] === 'sub' && Object.is(b, 0)) return a;
  if (!exactFns.has(head[0]) || !kids.every(isExact)) return folded;
  const value = evaluate(folded, nowhere);
  return isExact(value) && !Object.is(value, -0) ? value : folded;
}

/** Drops inputs that the expression does not read and renumbers the rest. */
function compact(expr: Expr, count: number): { expr: Expr; kept: number[] } {
  const read = new Set<number>();
  mapLeaves(expr, (leaf) => {
    if (typeof leaf !== 'number' && leaf[0] === 'in') read.add(leaf[1]);
    return undefined;
  });
  const kept = Array.from({ length: count }, (_, i) => i).filter((i) => read.has(i));
  const places = Array.from({ length: count }, (_, i): Expr => ['in', kept.indexOf(i)]);
  return { expr: compose(expr, places), kept };
}

/** Computes values that depend on neither inputs nor weights, where float32 holds them exactly. */
export const foldConstants: Pass = {
  name: 'foldConstants',
  effect: 'exact',
  run(graph) {
    const values = valuesOf(graph);
    const folded = rewriteNodes(graph, (node, now) => {
      if (node.op.kind !== 'map') return { node };
      const op = node.op;
      const leaves = node.inputs.map((id, i): Expr => fillValue(now.get(id)) ?? ['in', i]);
      const { expr, kept } = compact(foldExpr(compose(op.expr, leaves)), leaves.length);
      const asFill = fillOf(node, op, expr);
      if (asFill) return { node: replaced(node, asFill, []) ?? node };
      const inputs = kept.map((i) => values.get(node.inputs[i]!)!);
      // The shape becomes explicit, since the input that determined it may be dropped.
      const shape = kept.length < leaves.length ? { shape: node.shape } : {};
      return { node: replaced(node, { ...op, expr, ...shape }, inputs) ?? node };
    });
    return eliminateDead.run(folded);
  },
};

function fillValue(producer: GraphNode | undefined): number | undefined {
  if (producer?.op.kind !== 'fill') return undefined;
  const value = roundTo(producer.op.value, producer.op.dtype);
  return isExact(value) ? value : undefined;
}

function fillOf(node: GraphNode, op: MapOp, expr: Expr): FillOp | undefined {
  const scalar = typeof expr !== 'number' && expr[0] === 'scalar' ? op.scalars?.[expr[1]] : expr;
  if (typeof scalar !== 'number') return undefined;
  return { kind: 'fill', shape: node.shape, dtype: op.dtype, value: scalar };
}
