// Infers the layouts of a graph's values again: after a pass that changed one, or for weights in another layout than at
// the recording. Ops decide as in dispatch; a reshape that is no view any more gets the copy that reshape() makes.

import { layoutOf } from '../layout.ts';
import type { Spec } from '../op.ts';
import { wholeCopy } from '../ops/copy-rules.ts';
import { inferAll } from '../ops/table.ts';
import type { Op } from '../ops/table.ts';
import { isView, viewRules } from '../ops/views.ts';
import type { Graph, GraphNode, NamedValue, ValueId } from './graph.ts';
import { freeId } from './passes/rewrite.ts';

/** Strides of weights by name. */
export type Strides = ReadonlyMap<string, { readonly strides: readonly number[] }>;

/**
 * `graph` with the strides that the rules of its ops give for weights of the layouts `weights` (default: as recorded).
 * Node ids stay; copies for reshapes get new ids. `adapt` may replace the op of a node by one of the same shape,
 * knowing the layouts of the node's inputs.
 */
export function inferLayouts(
  graph: Graph,
  weights: Strides = new Map(),
  adapt: (node: GraphNode, inputs: readonly Spec[]) => Op = ({ op }) => op,
): Graph {
  const specs = new Map<ValueId, Spec>();
  /** All outputs of ops that have several. */
  const outputs = new Map<ValueId, readonly Spec[]>();
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
    if (op.kind === 'result') {
      nodes.push(define(node, outputs.get(node.inputs[0]!)![op.index]!.layout.strides));
      continue;
    }
    if (!isView(op)) {
      const made = inferAll(op, inputs);
      outputs.set(node.id, made);
      nodes.push(define(node, made[0]!.layout.strides));
      continue;
    }
    const seen = viewRules(op).layout(op, inputs[0]!.layout);
    if (seen) {
      nodes.push(define(node, seen.strides));
      continue;
    }
    const { dtype } = inputs[0]!;
    const { shape } = inputs[0]!.layout;
    const dense = wholeCopy(shape, dtype);
    const { module } = node;
    const copied = { id: next++, dtype, shape, strides: [], op: dense, inputs: node.inputs, module };
    nodes.push(define(copied, layoutOf(shape).strides));
    nodes.push(define({ ...node, inputs: [copied.id] }, layoutOf(node.shape).strides));
  }
  return { ...graph, params, constants, nodes };
}
