// liftScalars (exact): the run-time numbers of pointwise nodes become elements of one input, so that graphs which
// differ in those numbers alone (the steps of a schedule) are one graph.

import type { Expr } from '../expr.ts';
import { mapLeaves } from '../expr.ts';
import type { ViewOp } from '../op.ts';
import type { MapOp } from '../ops/map.ts';
import { definitionOf } from '../ops/table.ts';
import type { Graph, GraphNode, NamedValue, ValueId, ValueInfo } from './graph.ts';
import { specOf, valuesOf } from './passes/rewrite.ts';

/**
 * The most tensors that a map reads, `numbers` included. Larger sums become several maps; other nodes keep their
 * numbers.
 */
const maxInputs = 6;

/** A graph without run-time numbers of its own. */
export interface Lifted {
  readonly graph: Graph;
  /** The values of the new float32 input `numbers` [n]; when empty, the graph has no such input. */
  readonly numbers: readonly number[];
}

/** `graph` with the run-time numbers of its maps as elements of one more input. */
export function liftScalars(graph: Graph): Lifted {
  const values = valuesOf(graph);
  let next = 1 + Math.max(-1, ...values.keys());
  const id = (): ValueId => next++;
  const input = id();
  const numbers: number[] = [];
  const nodes = graph.nodes.flatMap((node) => {
    if (node.op.kind !== 'map' || !node.op.scalars?.length) return [node];
    return narrowed(node, node.op, values, id).flatMap((part) => {
      const op = part.op as MapOp;
      const scalars = op.scalars ?? [];
      if (scalars.length === 0 || part.inputs.length + scalars.length > maxInputs) return [part];
      const slices = scalars.map((value): GraphNode => {
        const at = numbers.push(value) - 1;
        const slice: ViewOp = { kind: 'slice', axis: 0, start: at, stop: at + 1, step: 1 };
        const { module } = node;
        return { id: id(), dtype: 'float32', shape: [1], strides: [1], op: slice, inputs: [input], module };
      });
      const inputs = [...part.inputs, ...slices.map((v) => v.id)];
      return [...slices, { ...part, op: withInputs(op, part.inputs.length), inputs }];
    });
  });
  if (numbers.length === 0) return { graph, numbers };
  const value: NamedValue = {
    name: 'numbers',
    id: input,
    dtype: 'float32',
    shape: [numbers.length],
    strides: [1],
  };
  return { graph: { ...graph, inputs: [...graph.inputs, value], nodes }, numbers };
}

/** A sum of many terms as sums of few, in the same order; partial sums are float32, as inside a map. */
function narrowed(
  node: GraphNode,
  op: MapOp,
  values: ReadonlyMap<ValueId, ValueInfo>,
  id: () => ValueId,
): readonly GraphNode[] {
  const { expr } = op;
  const wide = node.inputs.length + (op.scalars?.length ?? 0) > maxInputs;
  if (!wide || typeof expr === 'number' || expr[0] !== 'add') return [node];
  const left = restricted({ ...op, expr: expr[1], dtype: 'float32', shape: node.shape }, node.inputs);
  const right = restricted({ ...op, expr: expr[2] }, node.inputs);
  const { strides } = definitionOf(left.op).infer(
    left.op,
    left.inputs.map((v) => specOf(values.get(v)!)),
  ).layout;
  const sum: GraphNode = { ...node, id: id(), dtype: 'float32', strides, op: left.op, inputs: left.inputs };
  const rest = mapLeaves(right.op.expr, (leaf) =>
    typeof leaf !== 'number' && leaf[0] === 'in' ? ['in', leaf[1] + 1] : undefined,
  );
  const whole: MapOp = { ...right.op, expr: ['add', ['in', 0], rest], dtype: op.dtype, shape: node.shape };
  const ends: GraphNode = { ...node, op: whole, inputs: [sum.id, ...right.inputs] };
  return [...narrowed(sum, left.op, values, id), ends];
}

/** The map without the inputs and scalars that its expression does not read. */
function restricted(op: MapOp, inputs: readonly ValueId[]): { op: MapOp; inputs: ValueId[] } {
  const [ins, scalars]: [number[], number[]] = [[], []];
  const place = (list: number[], at: number): number =>
    list.includes(at) ? list.indexOf(at) : list.push(at) - 1;
  const expr = mapLeaves(op.expr, (leaf) => {
    if (typeof leaf === 'number' || (leaf[0] !== 'in' && leaf[0] !== 'scalar')) return undefined;
    return leaf[0] === 'in' ? ['in', place(ins, leaf[1])] : ['scalar', place(scalars, leaf[1])];
  });
  return {
    op: { ...op, expr, scalars: scalars.map((i) => op.scalars![i]!) },
    inputs: ins.map((i) => inputs[i]!),
  };
}

/** The map with its scalars as inputs from `first` on. */
function withInputs({ kind, expr, dtype, shape }: MapOp, first: number): MapOp {
  const place = (leaf: Expr): Expr | undefined =>
    typeof leaf !== 'number' && leaf[0] === 'scalar' ? ['in', first + leaf[1]] : undefined;
  return { kind, expr: mapLeaves(expr, place), dtype, ...(shape && { shape }) };
}
