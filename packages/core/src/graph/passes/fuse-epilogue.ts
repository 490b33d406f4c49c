// fuseEpilogue (rounding): pointwise chains (scale, bias, residual, activation) into the product whose result they
// alone read. The chain then sees the float32 accumulator: in float32 the same bits where a kernel rounds it to float32
// anyway, in narrower dtypes one rounding fewer.

import { isFloat } from '../../dtype.ts';
import { formatShape } from '../../errors.ts';
import type { Expr } from '../../expr.ts';
import { compose, mapLeaves } from '../../expr.ts';
import { findDefinition } from '../../ops/table.ts';
import type { KernelOp } from '../../ops/table.ts';
import type { GraphNode, ValueId, ValueInfo } from '../graph.ts';
import { asMap, isRare, replaced, rewriteNodes, treeSize, usesOf, valuesOf } from './rewrite.ts';
import type { Pass } from './rewrite.ts';

/** The most extra inputs of a product; more are not worth a kernel of their own. */
const mostExtras = 4;
/** About two activations: more in one kernel spills registers. */
const maxNodes = 64;

/** Fuses pointwise chains into products. `maxBindings`: as in Caps. */
export function fuseEpilogue(maxBindings: number = Infinity): Pass {
  return {
    name: 'fuseEpilogue',
    effect: 'rounding',
    run(graph) {
      const uses = usesOf(graph);
      const values = valuesOf(graph);
      return rewriteNodes(graph, (node, now) => {
        for (const id of uniqueOf(node.inputs)) {
          const product = now.get(id);
          if (!product || uses.get(id) !== node.inputs.filter((i) => i === id).length) continue;
          const fused = fuse(node, product, values, maxBindings);
          if (fused) return { node: fused, drop: [id] };
        }
        return { node };
      });
    },
  };
}

const uniqueOf = (ids: readonly ValueId[]): ValueId[] => [...new Set(ids)];

function fuse(
  node: GraphNode,
  product: GraphNode,
  values: ReadonlyMap<ValueId, ValueInfo>,
  maxBindings: number,
): GraphNode | undefined {
  const outer = asMap(node);
  const operands = findDefinition(product.op.kind)?.epilogueAfter;
  if (!outer || operands === undefined) return undefined;
  const op = product.op as KernelOp & { readonly epilogue?: Expr };
  const same = formatShape(product.shape) === formatShape(node.shape) && product.dtype === node.dtype;
  if (!same || !isFloat(node.dtype) || isRare(outer.expr)) return undefined;
  const chain = withNumbers(outer.expr, outer.scalars ?? []);
  if (chain === undefined) return undefined;
  const others = node.inputs.filter((i) => i !== product.id);
  const extras = uniqueOf([...product.inputs.slice(operands), ...others]);
  const place = (id: ValueId): Expr => ['in', 1 + extras.indexOf(id)];
  const before = compose(op.epilogue ?? ['in', 0], [['in', 0], ...product.inputs.slice(operands).map(place)]);
  const epilogue = compose(
    chain,
    node.inputs.map((id) => (id === product.id ? before : place(id))),
  );
  // The operands, the result and the run-time numbers are bound as well.
  const most = Math.min(mostExtras, maxBindings - operands - 2);
  if (extras.length > most || treeSize(epilogue) > maxNodes) return undefined;
  const fused = { ...op, epilogue };
  const inputs = [...product.inputs.slice(0, operands), ...extras].map((id) => values.get(id)!);
  return replaced(node, fused, inputs, product.module);
}

/** Run-time numbers as numbers of the expression (epilogues have no others); undefined when one is not finite. */
function withNumbers(e: Expr, scalars: readonly number[]): Expr | undefined {
  if (!scalars.every(Number.isFinite)) return undefined;
  return mapLeaves(e, (leaf) =>
    typeof leaf !== 'number' && leaf[0] === 'scalar' ? scalars[leaf[1]] : undefined,
  );
}
