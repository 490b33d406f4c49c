// fuseNormActivation (rounding): silu into the group norm whose result it alone reads. The activation then sees the
// normalised value before it is stored: in float32 the same but for how a kernel orders its last operations, in narrower
// dtypes one rounding fewer.

import { exprKey } from '../../expr.ts';
import { activations } from '../../ops/pointwise.ts';
import { findDefinition } from '../../ops/table.ts';
import type { KernelOp } from '../../ops/table.ts';
import { asMap, replaced, rewriteNodes, usesOf, valuesOf } from './rewrite.ts';
import type { Pass } from './rewrite.ts';

const expressions = { silu: exprKey(activations.silu(['in', 0])) };

/** Lets norms apply the activation that alone reads their result. */
export const fuseNormActivation: Pass = {
  name: 'fuseNormActivation',
  effect: 'rounding',
  run(graph) {
    const uses = usesOf(graph);
    const values = valuesOf(graph);
    return rewriteNodes(graph, (node, now) => {
      const [id] = node.inputs;
      const norm = id === undefined ? undefined : now.get(id);
      const outer = asMap(node);
      if (!norm || !outer || uses.get(norm.id) !== 1) return { node };
      const { activation } = findDefinition(norm.op.kind) ?? {};
      if (!activation || 'activation' in norm.op || exprKey(outer.expr) !== expressions[activation])
        return { node };
      const op = { ...norm.op, activation } as KernelOp;
      const inputs = norm.inputs.map((i) => values.get(i)!);
      const fused = replaced(node, op, inputs, norm.module);
      return fused ? { node: fused, drop: [norm.id] } : { node };
    });
  },
};
