// channelsLast (order): images run with their channels adjacent, from inputs to outputs; the outputs keep their layout.
// Ops hand the format on, so the pass only copies inputs and convolution weights into the format, and lets copies that
// kept a format (casts, concatenations) keep the new one. Transformer blocks then see pixels as rows without a copy.
//
// Not among the default passes: the weights are copied, once, and those copies are kept from call to call. A module
// that was converted (`to({ memoryFormat: 'channelsLast' })`) has the same plan without them.

import { layoutOf, memoryFormatOf } from '../../layout.ts';
import type { MemoryFormat } from '../../layout.ts';
import type { Spec } from '../../op.ts';
import { wholeCopy } from '../../ops/copy-rules.ts';
import { findDefinition } from '../../ops/table.ts';
import type { Op } from '../../ops/table.ts';
import type { Graph, GraphNode, NamedValue, ValueId, ValueInfo } from '../graph.ts';
import { inferLayouts } from '../layouts.ts';
import { freeId, specOf, valuesOf } from './rewrite.ts';
import type { Pass } from './rewrite.ts';

/** Runs images with their channels adjacent. */
export const channelsLast: Pass = {
  name: 'channelsLast',
  effect: 'order',
  run(graph) {
    if (formatWeights(graph).size === 0) return graph;
    const values = valuesOf(graph);
    const adapted = inferLayouts(brought(graph), new Map(), (node, inputs) =>
      keptFormat(node, inputs, values),
    );
    return givenBack(adapted, values) ?? graph;
  },
};

/** Convolution weights, whose format images follow. */
function formatWeights({ nodes }: Graph): ReadonlySet<ValueId> {
  const weights = new Set<ValueId>();
  for (const { op, inputs } of nodes) {
    const weight = findDefinition(op.kind)?.weight;
    if (weight?.setsFormat) weights.add(inputs[weight.input]!);
  }
  return weights;
}

/** The graph with its 4-D inputs and convolution weights copied into the format first. */
function brought(graph: Graph): Graph {
  const weights = formatWeights(graph);
  const all: readonly NamedValue[] = [
    ...graph.inputs,
    ...[...graph.params, ...graph.constants].filter(({ id }) => weights.has(id)),
  ];
  let next = freeId(graph);
  const copies = all
    .filter((v) => v.shape.length === 4 && memoryFormatOf(specOf(v).layout) === 'contiguous' && isSpread(v))
    .map((v) => [v.id, formatted(next++, v, 'channelsLast')] as const);
  const now = new Map(copies);
  const read = (id: ValueId): ValueId => now.get(id)?.id ?? id;
  const nodes = graph.nodes.map((node) => ({ ...node, inputs: node.inputs.map(read) }));
  return { ...graph, nodes: [...now.values(), ...nodes] };
}

/** True for a shape whose strides differ between the two formats. */
const isSpread = ({ shape }: ValueInfo): boolean => {
  const [b, a] = [layoutOf(shape, 'channelsLast').strides, layoutOf(shape).strides];
  return shape.some((d, i) => d > 1 && a[i] !== b[i]);
};

function formatted(id: ValueId, of: ValueInfo, format: MemoryFormat, module = ''): GraphNode {
  const { dtype, shape } = of;
  const op = wholeCopy(shape, dtype, format);
  return { id, dtype, shape, strides: layoutOf(shape, format).strides, op, inputs: [of.id], module };
}

/**
 * A copy whose output had the format of its first input follows that input; a copy that changed the format still does.
 */
function keptFormat(
  { op, inputs }: GraphNode,
  now: readonly Spec[],
  before: ReadonlyMap<ValueId, ValueInfo>,
): Op {
  if (op.kind !== 'copy' || op.shape.length !== 4) return op;
  const first = before.get(inputs[0]!);
  const kept = first && memoryFormatOf(specOf(first).layout) === op.format;
  return kept && memoryFormatOf(now[0]!.layout) === 'channelsLast' ? { ...op, format: 'channelsLast' } : op;
}

/** Copies outputs back to their old layouts; undefined when one was in neither format. */
function givenBack(graph: Graph, before: ReadonlyMap<ValueId, ValueInfo>): Graph | undefined {
  const values = valuesOf(graph);
  let next = freeId(graph);
  const copies: GraphNode[] = [];
  const outputs = graph.outputs.map((output) => {
    const [now, was] = [values.get(output.id)!, before.get(output.id)];
    if (!was || now.strides.join() === was.strides.join()) return output;
    const format = memoryFormatOf(specOf(was).layout);
    if (format === 'strided') return undefined;
    copies.push(formatted(next++, now, format));
    return { ...output, id: copies.at(-1)!.id };
  });
  if (outputs.includes(undefined)) return undefined;
  return { ...graph, nodes: [...graph.nodes, ...copies], outputs: outputs as Graph['outputs'] };
}
