// The layouts of a graph's values, worked out again: after a pass that changed one, or for weights that lie otherwise than
// when the graph was recorded. Ops decide as in dispatch; a reshape that is no view any more gets the copy that reshape()
// makes, so that graphs show it.

import { expandLayout, layoutOf, permuteLayout, reshapeLayout, sliceLayout } from '../layout.ts';
import type { Layout } from '../layout.ts';
import type { CopyOp, Op, Spec, ViewOp } from '../op.ts';
import { definitionOf } from '../ops/table.ts';
import type { Graph, GraphNode, NamedValue, ValueId } from './graph.ts';
import { freeId, isView } from './passes/rewrite.ts';

/** Strides by name, as weights have them. */
export type Strides = ReadonlyMap<string, { readonly strides: readonly number[] }>;

/** What a view makes of a layout; undefined for a reshape that needs a copy. */
export function viewLayout(op: ViewOp, of: Layout): Layout | undefined {
  switch (op.kind) {
    case 'reshape':
      return reshapeLayout(of, op.shape);
    case 'permute':
      return permuteLayout(of, op.axes);
    case 'expand':
      return expandLayout('expand', of, op.shape);
    case 'slice':
      return sliceLayout(of, op.axis, op.start, op.stop, op.step);
  }
}

/** The copy of a whole tensor of this spec in row-major order, as reshape() makes it. */
function denseCopy({ dtype, layout: { shape } }: Spec): CopyOp {
  return { kind: 'copy', shape, dtype, format: 'contiguous', starts: [shape.map(() => 0)] };
}

/**
 * `graph` with the strides that its values get by the rules of its ops, weights lying as `weights` says (default: as
 * recorded). Node ids stay; copies that reshapes need have new ones. `adapt` may exchange the op of a node for one of the
 * same shape, once the layouts of its inputs are known.
 */
export function inferLayouts(
  graph: Graph,
  weights: Strides = new Map(),
  adapt: (node: GraphNode, inputs: readonly Spec[]) => Op = ({ op }) => op,
): Graph {
  const specs = new Map<ValueId, Spec>();
  const define = <V extends NamedValue | GraphNode>(value: V, strides: readonly number[]): V => {
    const { id, dtype, shape } = value;
    specs.set(id, { dtype, layout: { shape, strides, offset: 0 } });
    return { ...value, strides };
  };
  const named = (list: readonly NamedValue[]): NamedValue[] =>
    list.map((v) => {
      const given = weights.get(v.name)?.strides;
      return define(v, given?.length === v.shape.length ? given : v.strides);
    });
  for (const v of graph.inputs) define(v, v.strides);
  const [params, constants] = [named(graph.params), named(graph.constants)];
  const nodes: GraphNode[] = [];
  let next = freeId(graph);
  for (const recorded of graph.nodes) {
    const inputs = recorded.inputs.map((id) => specs.get(id)!);
    const op = adapt(recorded, inputs);
    const node = { ...recorded, op };
    if (!isView(op)) {
      nodes.push(define(node, definitionOf(op).infer(op, inputs).layout.strides));
      continue;
    }
    const seen = viewLayout(op, inputs[0]!.layout);
    if (seen) {
      nodes.push(define(node, seen.strides));
      continue;
    }
    const dense = denseCopy(inputs[0]!);
    const { dtype, shape } = dense;
    const { module } = node;
    const copied = { id: next++, dtype, shape, strides: [], op: dense, inputs: node.inputs, module };
    nodes.push(define(copied, layoutOf(shape).strides));
    nodes.push(define({ ...node, inputs: [copied.id] }, layoutOf(node.shape).strides));
  }
  return { ...graph, params, constants, nodes };
}
