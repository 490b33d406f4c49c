// winograd (method): 3x3 convolutions of stride 1 by Winograd's F(2x2, 3x3), with 2.25 times fewer products and
// rounding of another kind but no worse: in float32, 3.4e-7 of the result where the direct sum has 5.8e-7 (128
// channels, 400 random tiles, relative L2). For float32 images, and with transformed weights in float32: in float16
// they would lose digits that the weights have.
//
// For devices that ask for it (Caps.rewrites): each weight is transformed once, and kept from call to call at 16/9 of
// its elements. Small convolutions stay as they are: there the transforms cost what the products save. By hand only
// where a backend has a kernel for the op: the CPU, whose conv2d goes by the method itself, runs its reference.

import type { Rewrite } from '../../backend.ts';
import type { Expr } from '../../expr.ts';
import { elementCount, isChannelsLast, layoutOf, permuteLayout } from '../../layout.ts';
import type { Spec } from '../../op.ts';
import { wholeCopy } from '../../ops/copy-rules.ts';
import type { MapOp } from '../../ops/map.ts';
import { definitionOf } from '../../ops/table.ts';
import type { KernelOp, Op } from '../../ops/table.ts';
import { winogradTiles } from '../../ops/winograd.ts';
import type { GraphNode, ValueId, ValueInfo } from '../graph.ts';
import { freeId, replaced, specOf, steadyValues, valuesOf } from './rewrite.ts';
import type { Pass } from './rewrite.ts';

/** The fewest input and output channels, and tiles of 2x2 outputs, at which the method pays. */
export type WinogradOptions = Extract<Rewrite, { pass: 'winograd' }>['options'];

/** Bytes of transformed tiles beyond which a convolution stays as it is: they are written and read once more. */
const mostScratch = 64 << 20;

/** The pass for convolutions from these sizes on. */
export function winograd({ leastChannels, leastTiles }: WinogradOptions): Pass {
  return {
    name: 'winograd',
    effect: 'method',
    run(graph) {
      const values = valuesOf(graph);
      const steady = steadyValues(graph);
      const transformed = new Map<ValueId, ValueInfo>();
      let next = freeId(graph);
      const nodes: GraphNode[] = [];
      for (const node of graph.nodes) {
        const [x, weight, ...extra] = node.inputs.map((id) => values.get(id)!);
        if (!weight || !steady.has(weight.id) || !fits(node, x!, weight)) {
          nodes.push(node);
          continue;
        }
        const known = transformed.get(weight.id);
        const made = known ? [] : transform(weight, node.module, () => next++);
        const kept = known ?? made.at(-1)!;
        const { padding, epilogue } = node.op as Extract<Op, { kind: 'conv2d' }>;
        const op: KernelOp = { kind: 'winograd', padding, ...(epilogue !== undefined && { epilogue }) };
        const faster = replaced(node, op, [x!, kept, ...extra]);
        if (faster) {
          transformed.set(weight.id, kept);
          nodes.push(...made);
        }
        nodes.push(faster ?? node);
      }
      return { ...graph, nodes };
    },
  };

  function fits({ op, shape, strides }: GraphNode, x: ValueInfo, weight: ValueInfo): boolean {
    if (op.kind !== 'conv2d' || op.groups !== 1) return false;
    const [o, c, kh, kw] = weight.shape as [number, number, number, number];
    const plain = kh === 3 && kw === 3 && [...op.stride, ...op.dilation].every((v) => v === 1);
    const tiles = elementCount(winogradTiles(shape));
    return (
      plain &&
      x.dtype === 'float32' &&
      isChannelsLast({ shape, strides, offset: 0 }) &&
      Math.min(o, c) >= leastChannels &&
      tiles >= leastTiles &&
      64 * tiles * Math.max(o, c) <= mostScratch
    );
  }
}

/** G of U = G g G^T along one of the first two axes: weights at 0, 1, 2 to positions 0 … 3. */
const alongAxis = (axis: number): Expr => {
  const at: Expr = ['index', axis];
  const ends: Expr = ['add', ['in', 0], ['in', 2]];
  const middle: Expr = ['where', ['eq', at, 1], ['in', 1], ['neg', ['in', 1]]];
  const inner: Expr = ['mul', 0.5, ['add', ends, middle]];
  return ['where', ['eq', at, 0], ['in', 0], ['where', ['eq', at, 3], ['in', 2], inner]];
};

/** U [16, c, o] of the weight [o, c, 3, 3]; the outputs lie adjacent. */
function transform(weight: ValueInfo, module: string, newId: () => ValueId): GraphNode[] {
  const nodes: GraphNode[] = [];
  const push = (op: Op, { layout, dtype }: Spec, inputs: readonly ValueInfo[]): GraphNode => {
    const { shape, strides } = layout;
    nodes.push({ id: newId(), dtype, shape, strides, op, inputs: inputs.map((v) => v.id), module });
    return nodes.at(-1)!;
  };
  const run = (op: KernelOp, inputs: readonly ValueInfo[]): GraphNode =>
    push(op, definitionOf(op).infer(op, inputs.map(specOf)), inputs);
  const view = (op: Op, of: ValueInfo, shape: readonly number[], strides: readonly number[]): GraphNode =>
    push(op, { dtype: of.dtype, layout: { shape, strides, offset: 0 } }, [of]);

  const axes = [2, 3, 1, 0];
  const turned = permuteLayout(specOf(weight).layout, axes);
  const { shape } = turned;
  const [, , c, o] = shape as [number, number, number, number];
  const copy = wholeCopy(shape, 'float32');
  let made = run(copy, [view({ kind: 'permute', axes }, weight, shape, turned.strides)]);
  for (const axis of [0, 1]) {
    const thin = made.shape.map((d, i) => (i === axis ? 1 : d));
    const rows = [0, 1, 2].map((start) =>
      view({ kind: 'slice', axis, start, stop: start + 1, step: 1 }, made, thin, made.strides),
    );
    const full = made.shape.map((d, i) => (i === axis ? 4 : d));
    const op: MapOp = { kind: 'map', expr: alongAxis(axis), dtype: 'float32', shape: full };
    made = run(op, rows);
  }
  view({ kind: 'reshape', shape: [16, c, o] }, made, [16, c, o], layoutOf([16, c, o]).strides);
  return nodes;
}
