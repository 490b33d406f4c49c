// Runs a graph op by op through dispatch: the definition of what a compiled plan must compute.

import type { Device } from '../device.ts';
import { dispatch } from '../dispatch.ts';
import { ArgumentError, formatShape, ShapeError } from '../errors.ts';
import type { KernelOp, Op } from '../op.ts';
import { reshape } from '../ops/copy.ts';
import { definitionOf } from '../ops/table.ts';
import { scope } from '../scope.ts';
import type { Tensor } from '../tensor.ts';
import type { Graph, NamedValue, ValueId } from './graph.ts';

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

function apply(op: Op, inputs: readonly Tensor[], device: Device): Tensor {
  const x = inputs[0]!;
  switch (op.kind) {
    case 'reshape':
      return reshape(x, op.shape);
    case 'permute':
      return x.permute(...op.axes);
    case 'expand':
      return x.expand(op.shape);
    case 'slice':
      return x.slice(op.axis, op.start, op.stop, op.step);
    default: {
      const kernelOp: KernelOp = op;
      return dispatch(definitionOf(kernelOp), kernelOp, inputs, { device });
    }
  }
}

/** Values by name in, outputs by name out; intermediates are freed at their last use. */
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
    for (const [at, node] of graph.nodes.entries()) {
      const args = node.inputs.map((id) => values.get(id)!);
      values.set(node.id, apply(node.op, args, bindings.device));
      for (const id of new Set(node.inputs))
        if (lastUse.get(id) === at && !kept.has(id)) values.get(id)!.dispose();
    }
    return Object.fromEntries(graph.outputs.map((o) => [o.name, values.get(o.id)!.alias()]));
  });
}
