// sliceAttention (exact where a kernel treats heads and queries alone): attention whose scores would take more than a
// limit becomes several, over batch items, then heads, then queries, one after the other, and a copy that joins them.
// For backends, or strategies, that hold the score matrix; not in the list of passes, since kernels that hold none lose
// by it.

import { ArgumentError } from '../../errors.ts';
import type { ViewOp } from '../../op.ts';
import type { AttentionOp } from '../../ops/attention.ts';
import type { CopyOp } from '../../ops/copy-rules.ts';
import { definitionOf } from '../../ops/table.ts';
import type { KernelOp } from '../../ops/table.ts';
import type { Graph, GraphNode, ValueId, ValueInfo } from '../graph.ts';
import { specOf, valuesOf } from './rewrite.ts';
import type { Pass } from './rewrite.ts';

/** Scores are float32 on every backend. */
const scoreBytes = 4;

/** Options of sliceAttention. */
export interface SliceAttentionOptions {
  /** Bytes that the scores of one attention may take: [b, heads, l, s] in float32. */
  readonly maxScoreBytes: number;
}

/** @throws ArgumentError when the limit is not a number above 0. */
export function sliceAttention({ maxScoreBytes }: SliceAttentionOptions): Pass {
  if (!(maxScoreBytes > 0))
    throw new ArgumentError(`sliceAttention: maxScoreBytes must be above 0, got ${maxScoreBytes}`);
  return { name: 'sliceAttention', effect: 'exact', run: (graph) => slice(graph, maxScoreBytes) };
}

function slice(graph: Graph, limit: number): Graph {
  const values = valuesOf(graph);
  let next = 1 + Math.max(...values.keys());
  const nodes = graph.nodes.flatMap((node) => {
    if (node.op.kind !== 'attention') return [node];
    const pieces = new Pieces(node, node.op, values, () => next++);
    return pieces.split(limit) ?? [node];
  });
  return { ...graph, nodes };
}

/** One attention on its way to several. */
class Pieces {
  readonly #node: GraphNode;
  readonly #op: AttentionOp;
  readonly #values: ReadonlyMap<ValueId, ValueInfo>;
  readonly #id: () => ValueId;
  readonly #made: GraphNode[] = [];

  constructor(node: GraphNode, op: AttentionOp, values: ReadonlyMap<ValueId, ValueInfo>, id: () => ValueId) {
    this.#node = node;
    this.#op = op;
    this.#values = values;
    this.#id = id;
  }

  /** The nodes in place of the attention; undefined when it is small enough, or cannot be made smaller. */
  split(limit: number): readonly GraphNode[] | undefined {
    const [q, k] = this.#node.inputs.map((id) => this.#values.get(id)!) as [ValueInfo, ValueInfo];
    const [items, heads, queries] = q.shape as [number, number, number, number];
    const row = scoreBytes * k.shape[2]!;
    if (items * heads * queries * row <= limit) return undefined;
    const fitting = (whole: number, each: number): number =>
      Math.min(whole, Math.max(1, Math.floor(limit / each)));
    const size = [
      fitting(items, heads * queries * row),
      fitting(heads, queries * row),
      // The keys that a query of a causal attention sees depend on the query's position.
      this.#op.mask === 'causal' ? queries : fitting(queries, row),
    ];
    const places = [items, heads, queries].reduce<number[][]>(
      (before, whole, axis) =>
        before.flatMap((at) =>
          Array.from({ length: Math.ceil(whole / size[axis]!) }, (_, i) => [...at, i * size[axis]!]),
        ),
      [[]],
    );
    if (places.length === 1) return undefined;
    const pieces = places.map((at) => ({ at, out: this.#piece(at, size) }));
    this.#join(pieces);
    return this.#made;
  }

  /** The attention of the slice that begins at `at` on the first axes. */
  #piece(at: readonly number[], size: readonly number[]): ValueInfo {
    const [q, k, v, mask] = this.#node.inputs.map((id) => this.#values.get(id)!);
    const part = (value: ValueInfo, axes: number): ValueInfo => {
      // A mask may have fewer axes, and axes of 1.
      const missing = 4 - value.shape.length;
      return at.slice(missing, axes).reduce((x, start, i) => {
        const [whole, length] = [x.shape[i]!, size[i + missing]!];
        if (whole === 1 || length >= whole) return x;
        return this.#slice(x, i, start, Math.min(start + length, whole));
      }, value);
    };
    const inputs = [part(q!, 3), part(k!, 2), part(v!, 2), ...(mask ? [part(mask, 3)] : [])];
    const { dtype, layout } = definitionOf(this.#op).infer(this.#op, inputs.map(specOf));
    return this.#add(this.#op, inputs, { dtype, shape: layout.shape, strides: layout.strides });
  }

  /** A copy of the pieces in the result's memory order, viewed in the result's shape. */
  #join(pieces: readonly { readonly at: readonly number[]; readonly out: ValueInfo }[]): void {
    const { dtype, shape, strides } = this.#node;
    const axes = [0, 1, 2, 3].sort((a, b) => strides[b]! - strides[a]! || a - b);
    const inputs = pieces.map(({ out }) => this.#permute(out, axes));
    const copy: CopyOp = {
      kind: 'copy',
      shape: axes.map((a) => shape[a]!),
      dtype,
      format: 'contiguous',
      starts: pieces.map(({ at }) => axes.map((a) => at[a] ?? 0)),
    };
    const { layout } = definitionOf(copy).infer(copy, inputs.map(specOf));
    const whole = this.#add(copy, inputs, { dtype, shape: layout.shape, strides: layout.strides });
    const back: ViewOp = { kind: 'permute', axes: [0, 1, 2, 3].map((a) => axes.indexOf(a)) };
    this.#made.push({ ...this.#node, op: back, inputs: [whole.id] });
  }

  #slice(x: ValueInfo, axis: number, start: number, stop: number): ValueInfo {
    const shape = x.shape.map((d, i) => (i === axis ? stop - start : d));
    const op: ViewOp = { kind: 'slice', axis, start, stop, step: 1 };
    return this.#add(op, [x], { dtype: x.dtype, shape, strides: x.strides });
  }

  #permute(x: ValueInfo, axes: readonly number[]): ValueInfo {
    const [shape, strides] = [x.shape, x.strides].map((list) => axes.map((a) => list[a]!)) as [
      number[],
      number[],
    ];
    return this.#add({ kind: 'permute', axes }, [x], { dtype: x.dtype, shape, strides });
  }

  #add(op: KernelOp | ViewOp, inputs: readonly ValueInfo[], value: Omit<ValueInfo, 'id'>): ValueInfo {
    const { module } = this.#node;
    const node: GraphNode = { id: this.#id(), ...value, op, inputs: inputs.map((v) => v.id), module };
    this.#made.push(node);
    return node;
  }
}
