// Runs a graph op by op through dispatch: the definition of what a compiled plan must compute.

import type { Device } from '../device.ts';
import { dispatchAll } from '../dispatch.ts';
import { ArgumentError, formatShape, ShapeError } from '../errors.ts';
import { anyDefinitionOf } from '../ops/table.ts';
import { isView, viewRules } from '../ops/views.ts';
import { scope } from '../scope.ts';
import type { Tensor } from '../tensor.ts';
import type { Graph, GraphNode, NamedValue, ValueId } from './graph.ts';

function bind(
  what: string,
  values: readonly NamedValue[],
  given: ReadonlyMap<string, Tensor>,
  into: Map<ValueId, Tensor>,
): void {
  for (const v of values) {
    const t = given.get(v.name);
    if (!t) throw new ArgumentError(`runGraph: ${what} '${v.name}' is missing`);
    if (t.dtype !== v.dtype || formatShape(t.shape) !== formatShape(v.shape)) {
      throw new ShapeError(
        `runGraph: ${what} '${v.name}' was traced as ${v.dtype}${formatShape(v.shape)}, got ${t.toString()}`,
      );
    }
    into.set(v.id, t);
  }
}

/** Runs a graph on tensors by name and returns its outputs by name; intermediates are freed at their last use. */
export function runGraph(
  graph: Graph,
  inputs: Readonly<Record<string, Tensor>>,
  bindings: { params?: ReadonlyMap<string, Tensor>; constants?: ReadonlyMap<string, Tensor>; device: Device },
): Record<string, Tensor> {
  return scope(() => {
    const values = new Map<ValueId, Tensor>();
    bind('input', graph.inputs, new Map(Object.entries(inputs)), values);
    bind('param', graph.params, bindings.params ?? new Map(), values);
    bind('constant', graph.constants, bindings.constants ?? new Map(), values);
    const lastUse = new Map<ValueId, number>();
    for (const [at, node] of graph.nodes.entries()) for (const id of node.inputs) lastUse.set(id, at);
    const kept = new Set([...values.keys(), ...graph.outputs.map((o) => o.id)]);
    /** Outputs beyond the first, until their result nodes read them. */
    const more = new Map<ValueId, readonly Tensor[]>();
    const run = ({ id, op, inputs: ids }: GraphNode): Tensor => {
      const args = ids.map((input) => values.get(input)!);
      if (isView(op)) return viewRules(op).apply(op, args[0]!);
      if (op.kind === 'result') return more.get(ids[0]!)![op.index]!;
      const outputs = dispatchAll(anyDefinitionOf(op), op, args, { device: bindings.device });
      if (outputs.length > 1) more.set(id, outputs);
      return outputs[0]!;
    };
    for (const [at, node] of graph.nodes.entries()) {
      values.set(node.id, run(node));
      for (const id of new Set(node.inputs))
        if (lastUse.get(id) === at && !kept.has(id)) values.get(id)!.dispose();
    }
    return Object.fromEntries(graph.outputs.map((o) => [o.name, values.get(o.id)!.alias()]));
  });
}
