// eliminateDead (exact): drops nodes that no output depends on, params and constants nobody reads, and views and copies
// that change nothing.

import { elementCount } from '../../layout.ts';
import type { Graph, GraphNode, ValueId, ValueInfo } from '../graph.ts';
import { isView } from '../../ops/views.ts';
import { asMap, sameSpec, specOf, valuesOf } from './rewrite.ts';
import type { Pass } from './rewrite.ts';

/** True iff the output of `node` equals its only input in every respect. */
function isIdentity(node: GraphNode, input: ValueInfo): boolean {
  if (!sameSpec(specOf(node), specOf(input))) return false;
  // A view of the same shape and strides starts at the start of its base, except slices of empty values.
  if (isView(node.op)) return elementCount(input.shape) > 0;
  const expr = asMap(node)?.expr;
  return Array.isArray(expr) && expr[0] === 'in' && node.inputs.length === 1;
}

/** Drops what no output depends on, and views and copies that change nothing. */
export const eliminateDead: Pass = {
  name: 'eliminateDead',
  effect: 'exact',
  run(graph) {
    const values = valuesOf(graph);
    const outputs = new Set(graph.outputs.map((o) => o.id));
    const renamed = new Map<ValueId, ValueId>();
    const current = (id: ValueId): ValueId => renamed.get(id) ?? id;
    const nodes: GraphNode[] = [];
    for (const node of graph.nodes) {
      const inputs = node.inputs.map(current);
      // A copy that is an output stays, since callers must not get an input or a weight as a result.
      const droppable = isView(node.op) || !outputs.has(node.id);
      if (inputs.length === 1 && droppable && isIdentity(node, values.get(inputs[0]!)!))
        renamed.set(node.id, inputs[0]!);
      else nodes.push({ ...node, inputs });
    }
    const ends = graph.outputs.map((o) => ({ ...o, id: current(o.id) }));
    return prune({ ...graph, nodes, outputs: ends });
  },
};

function prune(graph: Graph): Graph {
  const live = new Set(graph.outputs.map((o) => o.id));
  const nodes = graph.nodes.toReversed().filter((node) => {
    if (live.has(node.id)) for (const id of node.inputs) live.add(id);
    return live.has(node.id);
  });
  const read = <T extends ValueInfo>(list: readonly T[]): T[] => list.filter((v) => live.has(v.id));
  return {
    ...graph,
    params: read(graph.params),
    constants: read(graph.constants),
    nodes: nodes.toReversed(),
  };
}
