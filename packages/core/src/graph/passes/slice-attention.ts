// sliceAttention (order): attention whose scores would take more than a given number of bytes is computed in pieces: some
// batch items, some heads, or some queries of one head at a time. Each score and sum is the one it was; only a backend
// that picks its kernel by the number of heads or queries may add in another order.
//
// Not among the default passes: kernels that never hold the scores (flash attention) gain nothing by it. The pieces are
// joined by one copy, which plans do away with (graph/join-in-place.ts): each piece is written straight into its place.
// Where attention is decomposed, a piece costs one copy of its result.

import { dtypes } from '../../dtype.ts';
import type { DType } from '../../dtype.ts';
import { ArgumentError } from '../../errors.ts';
import { layoutOf } from '../../layout.ts';
import type { AttentionOp, CopyOp, Op } from '../../op.ts';
import type { Graph, GraphNode, ValueId, ValueInfo } from '../graph.ts';
import { inferLayouts } from '../layouts.ts';
import { freeId, valuesOf } from './rewrite.ts';
import type { Pass } from './rewrite.ts';

/**
 * Attention in pieces whose scores [heads, l, s], in the dtype of the queries, take at most `maxScoreBytes`; but one row of
 * them at least, and under a causal mask one head (which keys a query sees depends on its number). For
 * `trace(module, sample, { passes: [...passes, sliceAttention({ maxScoreBytes })] })`.
 * @throws ArgumentError unless maxScoreBytes is positive
 */
export function sliceAttention({ maxScoreBytes }: { readonly maxScoreBytes: number }): Pass {
  if (!(maxScoreBytes > 0))
    throw new ArgumentError(`sliceAttention: maxScoreBytes must be positive, got ${maxScoreBytes}`);
  return {
    name: 'sliceAttention',
    effect: 'order',
    run(graph) {
      const values = valuesOf(graph);
      let next = freeId(graph);
      const nodes = graph.nodes.flatMap((node) => {
        if (node.op.kind !== 'attention') return [node];
        const inputs = node.inputs.map((id) => values.get(id)!);
        const boxes = boxesOf(node.op, inputs, maxScoreBytes);
        return boxes.length > 1 ? inPieces(node, node.op, inputs, boxes, () => next++) : [node];
      });
      return inferLayouts({ ...graph, nodes } satisfies Graph);
    },
  };
}

/** Half-open ranges of batch items, heads and queries. */
type Range = readonly [from: number, to: number];
type Box = readonly [items: Range, heads: Range, queries: Range];

/** Parts of `count` of at most `most` each, as equal as whole numbers allow. */
function ranges(count: number, most: number): Range[] {
  const parts = Math.ceil(count / Math.max(1, Math.floor(most)));
  const size = Math.ceil(count / parts);
  return Array.from({ length: Math.ceil(count / size) }, (_, i) => [
    i * size,
    Math.min(count, (i + 1) * size),
  ]);
}

function boxesOf(op: AttentionOp, [q, k]: readonly ValueInfo[], limit: number): Box[] {
  const [b, heads, l] = q!.shape as [number, number, number];
  const row = k!.shape[2]! * dtypes[q!.dtype].bytes;
  const item = heads * l * row;
  if (b * item <= limit) return [];
  const items = ranges(b, limit / item);
  const perItem = ranges(heads, limit / (l * row));
  const queries = ranges(l, op.mask === 'causal' ? l : limit / row);
  return items.flatMap((i) => perItem.flatMap((h) => queries.map((r): Box => [i, h, r])));
}

/** The pieces, and their results side by side in the layout that the whole had; the last node is `node`. */
function inPieces(
  node: GraphNode,
  op: AttentionOp,
  inputs: readonly ValueInfo[],
  boxes: readonly Box[],
  newId: () => ValueId,
): GraphNode[] {
  const nodes: GraphNode[] = [];
  /** Strides are worked out by inferLayouts. */
  const define = (
    does: Op,
    dtype: DType,
    shape: readonly number[],
    from: readonly ValueInfo[],
  ): GraphNode => {
    const { strides } = layoutOf(shape);
    const inputIds = from.map((v) => v.id);
    const made = { id: newId(), dtype, shape, strides, op: does, inputs: inputIds, module: node.module };
    nodes.push(made);
    return made;
  };
  const part = (x: ValueInfo, box: readonly Range[]): ValueInfo =>
    box.reduce<ValueInfo>((v, [start, stop], axis) => {
      const broadcast = v.shape[axis] === 1;
      if (broadcast || stop - start === v.shape[axis]) return v;
      const shape = v.shape.map((d, i) => (i === axis ? stop - start : d));
      return define({ kind: 'slice', axis, start, stop, step: 1 }, v.dtype, shape, [v]);
    }, x);
  // From the outermost dimension in memory to the innermost, so that the joining copy gives the layout of the whole.
  const order = node.shape.map((_, i) => i).sort((x, y) => node.strides[y]! - node.strides[x]! || x - y);
  const permuted = (v: GraphNode, axes: readonly number[]): GraphNode => {
    if (axes.every((a, i) => a === i)) return v;
    const shape = axes.map((a) => v.shape[a]!);
    return define({ kind: 'permute', axes }, v.dtype, shape, [v]);
  };
  const [q, k, v, mask] = inputs as [ValueInfo, ValueInfo, ValueInfo, ValueInfo?];
  const pieces = boxes.map((box) => {
    const [items, heads, queries] = box;
    const one = part(q, box);
    const own = mask ? [part(mask, box.slice(4 - mask.shape.length))] : []; // its missing dimensions lead
    const args = [one, part(k, [items, heads]), part(v, [items, heads]), ...own];
    const value = permuted(define(op, node.dtype, one.shape, args), order);
    return { value, start: [items[0], heads[0], queries[0], 0] };
  });
  const shape = order.map((axis) => node.shape[axis]!);
  const starts = pieces.map(({ start }) => order.map((axis) => start[axis]!));
  const { dtype } = node;
  const copy: CopyOp = { kind: 'copy', shape, dtype, format: 'contiguous', starts };
  const joined = define(copy, dtype, shape, pieces.map((p) => p.value)); // prettier-ignore
  permuted(joined, order.map((_, axis) => order.indexOf(axis))); // prettier-ignore
  nodes.push({ ...nodes.pop()!, id: node.id });
  return nodes;
}
