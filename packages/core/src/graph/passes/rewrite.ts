// Helpers of the passes: the readers of a value, the spec of a changed node, pointwise nodes as maps. A rewrite never
// changes a dtype or shape, and a layout only if the pass infers the later layouts again (graph/layouts.ts). The
// readers of the value stay as they are.

import type { Expr } from '../../expr.ts';
import { children } from '../../expr.ts';
import { elementCount } from '../../layout.ts';
import type { Spec } from '../../op.ts';
import type { MapOp } from '../../ops/map.ts';
import { inferAll } from '../../ops/table.ts';
import type { KernelOp } from '../../ops/table.ts';
import type { Graph, GraphNode, ValueId, ValueInfo } from '../graph.ts';

/** A rewrite of a graph. `effect` says how it may change the numbers. */
export interface Pass {
  readonly name: string;
  /**
   * 'exact': bit for bit the same. 'rounding': values that were stored in between are not rounded to storage any more.
   * 'order': the same terms are summed, in another order where a backend picks a kernel by size or layout.
   * 'method': computed in another way, whose rounding is of another kind; still within an op's tolerance.
   */
  readonly effect: 'exact' | 'rounding' | 'order' | 'method';
  run(graph: Graph): Graph;
}

/** The spec of a value that starts where its memory does. */
export function specOf(v: ValueInfo): Spec {
  return { dtype: v.dtype, layout: { shape: v.shape, strides: v.strides, offset: 0 } };
}

/** Every value of a graph by id. */
export function valuesOf(graph: Graph): Map<ValueId, ValueInfo> {
  const all = [...graph.inputs, ...graph.params, ...graph.constants, ...graph.nodes];
  return new Map(all.map((v) => [v.id, v]));
}

/** An id above all that the graph has. */
export function freeId(graph: Graph): ValueId {
  return 1 + Math.max(-1, ...valuesOf(graph).keys());
}

/** Weights, and values computed from weights alone: the same at every call. */
export function steadyValues(graph: Graph): ReadonlySet<ValueId> {
  const steady = new Set([...graph.params, ...graph.constants].map((v) => v.id));
  for (const { id, inputs } of graph.nodes)
    if (inputs.length > 0 && inputs.every((input) => steady.has(input))) steady.add(id);
  return steady;
}

/** Number of reads of each value; an output counts as one. */
export function usesOf(graph: Graph): Map<ValueId, number> {
  const uses = new Map<ValueId, number>();
  const add = (id: ValueId): void => void uses.set(id, (uses.get(id) ?? 0) + 1);
  for (const node of graph.nodes) node.inputs.forEach(add);
  for (const { id } of graph.outputs) add(id);
  return uses;
}

/** True iff `a` and `b` have equal dtype, shape and strides; strides of dimensions of size 1 do not count. */
export function sameSpec(a: Spec, b: Spec): boolean {
  const [x, y] = [a.layout, b.layout];
  if (a.dtype !== b.dtype || x.shape.length !== y.shape.length) return false;
  const empty = elementCount(x.shape) === 0;
  return x.shape.every((d, i) => d === y.shape[i] && (empty || d === 1 || x.strides[i] === y.strides[i]));
}

/** `node` with another op and inputs; undefined when that would give a value of another dtype, shape or layout. */
export function replaced(
  node: GraphNode,
  op: KernelOp,
  inputs: readonly ValueInfo[],
  module: string = node.module,
): GraphNode | undefined {
  if (!sameSpec(inferAll(op, inputs.map(specOf))[0]!, specOf(node))) return undefined;
  return { ...node, op, inputs: inputs.map((v) => v.id), module };
}

/** The node as pointwise work: a map, or a copy of one whole tensor (a cast, a change of format). */
export function asMap(node: GraphNode): MapOp | undefined {
  const { op } = node;
  if (op.kind === 'map') return op;
  const whole =
    op.kind === 'copy' &&
    op.fill === undefined &&
    op.starts.length === 1 &&
    op.starts[0]!.every((s) => s === 0);
  return whole ? { kind: 'map', expr: ['in', 0], dtype: op.dtype } : undefined;
}

/**
 * True if `e` has a function that backends may offer only in a slower, more exact kernel. Fusing other functions with
 * it would move them to that kernel and change their last bits.
 */
export function isRare(e: Expr): boolean {
  if (typeof e === 'number') return false;
  if (e[0] === 'log' || e[0] === 'sin' || e[0] === 'cos' || e[0] === 'pow' || e[0] === 'index') return true;
  return children(e).some((kid) => isRare(kid));
}

/** Nodes of an expression tree, counting repeats: what a renderer without common subexpressions would write. */
export function treeSize(e: Expr): number {
  return children(e).reduce<number>((n, kid) => n + treeSize(kid), 1);
}

/** Rewrites nodes in order; `visit` sees the nodes before it as they are by then, and may drop some of those by id. */
export function rewriteNodes(
  graph: Graph,
  visit: (
    node: GraphNode,
    at: ReadonlyMap<ValueId, GraphNode>,
  ) => { node: GraphNode; drop?: Iterable<ValueId> },
): Graph {
  const now = new Map<ValueId, GraphNode>();
  for (const before of graph.nodes) {
    const { node, drop } = visit(before, now);
    for (const id of drop ?? []) now.delete(id);
    now.set(node.id, node);
  }
  return { ...graph, nodes: [...now.values()] };
}
