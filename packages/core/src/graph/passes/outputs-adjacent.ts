// outputsAdjacent (order): copies weights so that the outputs of a product are adjacent in memory: [k, n] for matmul,
// [kh, kw, c, o] for conv2d of channels-last images. Kernels can then read weights in vectors, while the layouts of
// checkpoints ([n, k], [o, c, kh, kw]) make them gather. The same terms are summed.
//
// For devices that ask for it (Caps.rewrites). Each weight is copied, once, and the copy is kept from call to call.

import { layoutOf, permuteLayout } from '../../layout.ts';
import { wholeCopy } from '../../ops/copy-rules.ts';
import { findDefinition } from '../../ops/table.ts';
import type { KernelOp, Op } from '../../ops/table.ts';
import type { WeightRule } from '../../op-rules.ts';
import type { Graph, GraphNode, ValueId, ValueInfo } from '../graph.ts';
import { freeId, replaced, specOf, steadyValues, valuesOf } from './rewrite.ts';
import type { Pass } from './rewrite.ts';

/** Copies weights once, so that the outputs of a product are adjacent in memory. */
export const outputsAdjacent: Pass = {
  name: 'outputsAdjacent',
  effect: 'order',
  run(graph) {
    const values = valuesOf(graph);
    const steady = steadyValues(graph);
    const copies = new Map<string, ValueInfo>();
    const key = keyOf(graph);
    let next = freeId(graph);
    const nodes: GraphNode[] = [];
    for (const node of graph.nodes) {
      const inputs = node.inputs.map((id) => values.get(id)!);
      const rule = findDefinition(node.op.kind)?.weight;
      const weight = rule && inputs[rule.input];
      const order = weight && steady.has(weight.id) ? orderFor(rule, node, weight) : undefined;
      if (!order) {
        nodes.push(node);
        continue;
      }
      const known = copies.get(key(weight!));
      const made = known ? [] : laid(weight!, order, node.module, () => next++);
      const copy = known ?? made.at(-1)!;
      const reading = replaced(node, node.op as KernelOp, inputs.with(rule!.input, copy));
      if (reading) {
        copies.set(key(weight!), copy);
        nodes.push(...made);
      }
      nodes.push(reading ?? node);
    }
    return { ...graph, nodes };
  },
};

/** The dimensions of a product's weight from the outermost in memory to the outputs; undefined: no copy. */
function orderFor(
  rule: WeightRule,
  result: ValueInfo,
  { shape, strides }: ValueInfo,
): readonly number[] | undefined {
  const order = rule.adjacent?.(specOf(result).layout, shape);
  const outputs = order?.at(-1);
  return outputs === undefined || strides[outputs] === 1 || shape[outputs]! < 2 ? undefined : order;
}

/** A copy of `of` with its dimensions in `order` in memory, viewed in the old shape. */
function laid(of: ValueInfo, order: readonly number[], module: string, newId: () => ValueId): GraphNode[] {
  const back = order.map((_, axis) => order.indexOf(axis));
  const turned = permuteLayout(specOf(of).layout, order);
  const dense = layoutOf(turned.shape);
  const { shape } = dense;
  const op = wholeCopy(shape, of.dtype);
  const node = (made: Op, layout: { shape: readonly number[]; strides: readonly number[] }, input: ValueId): GraphNode =>
    ({ id: newId(), dtype: of.dtype, shape: layout.shape, strides: layout.strides, op: made, inputs: [input], module }); // prettier-ignore
  const first = node({ kind: 'permute', axes: order }, turned, of.id);
  const copy = node(op, dense, first.id);
  return [first, copy, node({ kind: 'permute', axes: back }, permuteLayout(dense, back), copy.id)];
}

/** A key that equal views of a weight share: each product that reads the weight has its own transpose node. */
function keyOf({ nodes }: Graph): (weight: ValueInfo) => string {
  const turned = new Map(nodes.filter(({ op }) => op.kind === 'permute').map((n) => [n.id, n.inputs[0]!]));
  return ({ id, shape, strides }) => {
    let base = id;
    while (turned.has(base)) base = turned.get(base)!;
    return `${base} ${shape} ${strides}`;
  };
}
