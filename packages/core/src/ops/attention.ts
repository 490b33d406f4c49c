// Scaled dot-product attention as one op, so that a backend may never hold the score matrix (flash attention).
// Its definition is softmax(q·kᵀ·scale + mask)·v; slicing over heads is a strategy of the caller (diffusers).

import { number, oneOf } from '../attributes.ts';
import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import { dtypes, requireFloat } from '../dtype.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { denseLike, elementCount, expandLayout } from '../layout.ts';
import type { Tensor } from '../tensor.ts';
import { attentionTolerance } from '../testing/tolerance.ts';
import { map } from './map.ts';
import { matmul } from './matmul.ts';
import { add } from './pointwise.ts';
import { SharedOps } from './shared-ops.ts';
import { softmax } from './softmax.ts';

/** q [b, h, l, d], k [b, h, s, d], v [b, h, s, d] (, mask broadcast to [b, h, l, s], added to the scores). */
export interface AttentionOp {
  readonly kind: 'attention';
  readonly scale: number;
  readonly mask: 'none' | 'causal' | 'additive';
}

/** See OpRules. */
export const attentionDefinition: OpDefinition<AttentionOp> = {
  kind: 'attention',
  inputs: [3, 4],
  attributes: { scale: number, mask: oneOf('none', 'causal', 'additive') },
  defaults: { mask: 'none' },
  writesAnywhere: true,
  tolerance: (_, inputs, output) =>
    attentionTolerance(inputs[0]!.layout.shape[3]!, inputs[1]!.layout.shape[2]!, inputs, output),
  infer(op, [q, k, v, mask]) {
    const shapes = [q!, k!, v!].map((t) => t.layout.shape);
    for (const [i, t] of [q!, k!, v!].entries()) requireFloat('attention', 'qkv'[i]!, t.dtype);
    const [qs, ks, vs] = shapes as [readonly number[], readonly number[], readonly number[]];
    const ok =
      shapes.every((s) => s.length === 4) &&
      [0, 1].every((i) => qs[i] === ks[i]) &&
      qs[3] === ks[3] &&
      formatShape(ks) === formatShape(vs);
    if (!ok) {
      throw new ShapeError(
        `attention: needs q [b,heads,l,d] and k, v [b,heads,s,d], got ${shapes.map((s) => formatShape(s)).join(', ')}`,
      );
    }
    if ((op.mask === 'additive') !== (mask !== undefined)) {
      throw new ShapeError(`attention: mask '${op.mask}' ${mask ? 'takes no' : 'needs a'} mask tensor`);
    }
    if (mask) expandLayout('attention mask', mask.layout, [qs[0]!, qs[1]!, qs[2]!, ks[2]!]);
    // Nested as q, so that heads which were a view of [b, l, heads*d], or of a slice of it, merge back as a view.
    return { dtype: q!.dtype, layout: denseLike(q!.layout) };
  },
  cost(_, [q, k]) {
    const n = elementCount(q!.layout.shape);
    const s = k!.layout.shape[2]!;
    const bytes = dtypes[q!.dtype].bytes;
    return { flops: 4 * n * s, bytes: bytes * 2 * (n + elementCount(k!.layout.shape)) };
  },
  decompose(op, [q, k, v, mask]) {
    let scores = matmul(q!, k!.transpose(), { scale: op.scale });
    if (mask) scores = add(scores, mask);
    if (op.mask === 'causal') {
      // Query i sees keys 0 … i, as torch's is_causal.
      scores = map(['where', ['le', ['index', 3], ['index', 2]], ['in', 0], ['neg', ['inf']]], [scores]);
    }
    return matmul(softmax(scores), v!);
  },
};

/** Options of attention. */
export interface AttentionOptions {
  /** Default 1/√d. */
  readonly scale?: number | undefined;
  readonly causal?: boolean;
  /** Added to the scaled scores; broadcasts to [b, heads, l, s]. Not together with causal. */
  readonly mask?: Tensor | undefined;
  readonly out?: Tensor | undefined;
}

const attentions = new SharedOps<AttentionOp>();

/** q [b, heads, l, d], k and v [b, heads, s, d] → [b, heads, l, d] nested in memory as q. Softmax in float32. */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  if (options.causal && options.mask) throw new ShapeError('attention: give causal or a mask, not both');
  const scale = options.scale ?? 1 / Math.sqrt(q.shape.at(-1) ?? 1);
  const mask = options.mask ? 'additive' : options.causal ? 'causal' : 'none';
  const op = attentions.of([scale, mask], () => ({ kind: 'attention', scale, mask }));
  return dispatch(attentionDefinition, op, options.mask ? [q, k, v, options.mask] : [q, k, v], {
    out: options.out,
  });
}
