// fuseMap (exact): pointwise work into the pointwise work that reads it, by composing expressions. The expression casts
// where a value was stored, so backends that evaluate expressions as written give the same bits; a GPU compiler may
// contract a product and a sum that no store separates any more (one rounding fewer).

import { isFloat } from '../../dtype.ts';
import type { Expr } from '../../expr.ts';
import { compose, mapLeaves } from '../../expr.ts';
import { formatShape } from '../../errors.ts';
import type { MapOp } from '../../ops/map.ts';
import type { GraphNode, ValueId, ValueInfo } from '../graph.ts';
import { asMap, isRare, replaced, rewriteNodes, treeSize, usesOf, valuesOf } from './rewrite.ts';
import type { Pass } from './rewrite.ts';

/** Limits of a fused map: backends bind few inputs, and long expressions run out of registers. */
export const fusionLimits: { readonly inputs: number; readonly scalars: number; readonly nodes: number } = {
  inputs: 6,
  scalars: 8,
  nodes: 192,
};

/** Joins pointwise nodes with the pointwise nodes that alone read them. */
export const fuseMap: Pass = {
  name: 'fuseMap',
  effect: 'exact',
  run(graph) {
    const uses = usesOf(graph);
    const values = valuesOf(graph);
    return rewriteNodes(graph, (before, now) => {
      let node = before;
      const drop: ValueId[] = [];
      for (;;) {
        const joined = joinOne(node, now, uses, values);
        if (!joined) return { node, drop };
        node = joined.node;
        drop.push(joined.producer);
      }
    });
  },
};

/** `node` fused with one of its producers; undefined when none can be fused. */
function joinOne(
  node: GraphNode,
  now: ReadonlyMap<ValueId, GraphNode>,
  uses: ReadonlyMap<ValueId, number>,
  values: ReadonlyMap<ValueId, ValueInfo>,
): { node: GraphNode; producer: ValueId } | undefined {
  const outer = asMap(node);
  if (!outer) return undefined;
  for (const [at, id] of node.inputs.entries()) {
    const producer = now.get(id);
    const inner = producer && asMap(producer);
    if (!inner || uses.get(id) !== 1 || !isFloat(producer.dtype)) continue;
    if (formatShape(producer.shape) !== formatShape(node.shape)) continue; // it would be computed again and again
    // Casts alone join either kind: they are fast everywhere.
    if (isRare(inner.expr) !== isRare(outer.expr)) continue;
    const { op, inputs } = join(outer, node.inputs, at, inner, producer);
    if (inputs.length > fusionLimits.inputs || treeSize(op.expr) > fusionLimits.nodes) continue;
    if ((op.scalars?.length ?? 0) > fusionLimits.scalars) continue;
    const joined = replaced(
      node,
      op,
      inputs.map((i) => values.get(i)!),
    );
    if (joined) return { node: joined, producer: id };
  }
  return undefined;
}

function join(
  outer: MapOp,
  outerInputs: readonly ValueId[],
  at: number,
  inner: MapOp,
  producer: GraphNode,
): { op: MapOp; inputs: ValueId[] } {
  const inputs = [...new Set(outerInputs.flatMap((id, i) => (i === at ? producer.inputs : [id])))];
  const place = (id: ValueId): Expr => ['in', inputs.indexOf(id)];
  const scalars = [...(outer.scalars ?? []), ...(inner.scalars ?? [])];
  const shifted = mapLeaves(inner.expr, (leaf) =>
    typeof leaf !== 'number' && leaf[0] === 'scalar'
      ? ['scalar', leaf[1] + (outer.scalars?.length ?? 0)]
      : undefined,
  );
  const stored: Expr = ['cast', producer.dtype, compose(shifted, producer.inputs.map(place))];
  const expr = compose(
    outer.expr,
    outerInputs.map((id, i) => (i === at ? stored : place(id))),
  );
  return {
    op: {
      kind: 'map',
      expr,
      dtype: outer.dtype,
      ...(outer.shape || inner.shape ? { shape: producer.shape } : {}),
      ...(scalars.length > 0 && { scalars }),
    },
    inputs,
  };
}
