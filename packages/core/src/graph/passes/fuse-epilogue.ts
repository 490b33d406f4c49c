// fuseEpilogue (rounding): pointwise chains (scale, bias, residual, activation) into the product whose result they alone
// read. The chain then sees the float32 accumulator: in float32 the same bits where a kernel rounds it to float32 anyway,
// in narrower dtypes one rounding fewer.

import { isFloat } from '../../dtype.ts';
import { formatShape } from '../../errors.ts';
import type { Expr } from '../../expr.ts';
import { compose, mapLeaves } from '../../expr.ts';
import type { Conv2dOp, MatmulOp } from '../../op.ts';
import type { GraphNode, ValueId, ValueInfo } from '../graph.ts';
import { asMap, isRare, replaced, rewriteNodes, treeSize, usesOf, valuesOf } from './rewrite.ts';
import type { Pass } from './rewrite.ts';

/** Extra inputs of a product: with its operands, its result and the run-time numbers they fill the bindings of WebGPU. */
const maxExtras = 4;
/** About two activations: more in one kernel spills registers. */
const maxNodes = 64;

export const fuseEpilogue: Pass = {
  name: 'fuseEpilogue',
  effect: 'rounding',
  run(graph) {
    const uses = usesOf(graph);
    const values = valuesOf(graph);
    return rewriteNodes(graph, (node, now) => {
      for (const id of uniqueOf(node.inputs)) {
        const product = now.get(id);
        if (!product || uses.get(id) !== node.inputs.filter((i) => i === id).length) continue;
        const fused = fuse(node, product, values);
        if (fused) return { node: fused, drop: [id] };
      }
      return { node };
    });
  },
};

const uniqueOf = (ids: readonly ValueId[]): ValueId[] => [...new Set(ids)];

function fuse(
  node: GraphNode,
  product: GraphNode,
  values: ReadonlyMap<ValueId, ValueInfo>,
): GraphNode | undefined {
  const op = product.op;
  const outer = asMap(node);
  if (!outer || (op.kind !== 'matmul' && op.kind !== 'conv2d')) return undefined;
  const same = formatShape(product.shape) === formatShape(node.shape) && product.dtype === node.dtype;
  if (!same || !isFloat(node.dtype) || isRare(outer.expr)) return undefined;
  const chain = withNumbers(outer.expr, outer.scalars ?? []);
  if (chain === undefined) return undefined;
  const others = node.inputs.filter((i) => i !== product.id);
  const extras = uniqueOf([...product.inputs.slice(2), ...others]);
  const place = (id: ValueId): Expr => ['in', 1 + extras.indexOf(id)];
  const before = compose(op.epilogue ?? ['in', 0], [['in', 0], ...product.inputs.slice(2).map(place)]);
  const epilogue = compose(
    chain,
    node.inputs.map((id) => (id === product.id ? before : place(id))),
  );
  if (extras.length > maxExtras || treeSize(epilogue) > maxNodes) return undefined;
  const fused: MatmulOp | Conv2dOp = { ...op, epilogue };
  const inputs = [...product.inputs.slice(0, 2), ...extras].map((id) => values.get(id)!);
  return replaced(node, fused, inputs, product.module);
}

/** Run-time numbers as numbers of the expression (epilogues have no others); undefined when one is not finite. */
function withNumbers(e: Expr, scalars: readonly number[]): Expr | undefined {
  if (!scalars.every(Number.isFinite)) return undefined;
  return mapLeaves(e, (leaf) =>
    typeof leaf !== 'number' && leaf[0] === 'scalar' ? scalars[leaf[1]] : undefined,
  );
}
