// Random blocks of a transformer and of a residual block, drawn by fast-check: products that share an input, heads
// split and merged as views, masks, sizes that divide nothing. For passes about products and attention; graphs.ts is
// broader.

import type * as FastCheck from 'fast-check';
import { tensor } from '../create.ts';
import type { Device } from '../device.ts';
import type { DType } from '../dtype.ts';
import { recordGraph } from '../graph/record.ts';
import { planGraph } from '../graph/plan.ts';
import { Replay } from '../graph/replay.ts';
import type { Graph } from '../graph/graph.ts';
import { attention } from '../ops/attention.ts';
import { conv2d } from '../ops/conv2d.ts';
import { cast, reshape } from '../ops/copy.ts';
import { linear } from '../ops/matmul.ts';
import { add, mul } from '../ops/pointwise.ts';
import { Scope } from '../scope.ts';
import type { Tensor } from '../tensor.ts';
import type { RandomGraph } from './graphs.ts';
import { buildInput } from './inputs.ts';

type Fc = typeof FastCheck.default;

/** Sizes and choices of a random block. */
export interface AttentionProgram {
  readonly dtype: DType;
  readonly b: number;
  /** Query tokens, and key tokens of cross-attention. */
  readonly l: number;
  readonly s: number;
  readonly heads: number;
  readonly d: number;
  /** Channels of the tokens, and of the image that they are. */
  readonly k: number;
  readonly bias: boolean;
  readonly mask: 'none' | 'causal' | 'row' | 'full';
  /** True if keys and values come from a second input. */
  readonly cross: boolean;
  readonly maxScoreBytes: number;
}

/** Random blocks, drawn by the given fast-check. */
export function attentionArbitrary(
  fc: Fc,
  dtypes: readonly DType[] = ['float32', 'float16'],
): FastCheck.Arbitrary<AttentionProgram> {
  const size = (max: number): FastCheck.Arbitrary<number> => fc.integer({ min: 1, max });
  return fc.record({
    dtype: fc.constantFrom(...dtypes),
    b: size(3),
    l: size(11),
    s: size(7),
    heads: size(4),
    d: size(9),
    k: size(9),
    bias: fc.boolean(),
    mask: fc.constantFrom('none', 'causal', 'row', 'full' as const),
    cross: fc.boolean(),
    maxScoreBytes: fc.integer({ min: 1, max: 400 }),
  });
}

/** Records the program and makes its inputs and weights on `device`; the caller's scope owns them. */
export function buildAttention(p: AttentionProgram, device: Device): RandomGraph {
  const { b, l, s, heads, d, k, dtype } = p;
  const keys = p.cross ? s : l;
  const inner = heads * d;
  const make = (shapes: Readonly<Record<string, readonly number[]>>, seed: number): Record<string, Tensor> =>
    Object.fromEntries(
      Object.entries(shapes).map(([name, shape], i) => [
        name,
        buildInput({ shape, dtype }, seed + i, device),
      ]),
    );
  const inputs = {
    ...make({ x: [b, l, k], context: [b, s, k], mask: p.mask === 'row' ? [keys] : [b, 1, l, keys] }, 1),
    time: tensor([0.75], { device }),
  } as Record<'x' | 'context' | 'mask' | 'time', Tensor>;
  const w = make(
    {
      q: [inner, k], k: [inner, k], v: [inner, k], out: [k, inner], qb: [inner], kb: [inner], vb: [inner],
      frequencies: [b, k], t1: [3, k], t2: [k, k], b1: [3], b2: [k], c1: [3, k, 1, 1], c2: [k, k, 1, 1],
    },
    10,
  ) as Record<'q' | 'k' | 'v' | 'out' | 'qb' | 'kb' | 'vb' | 'frequencies' | 't1' | 't2' | 'b1' | 'b2' | 'c1' | 'c2', Tensor>; // prettier-ignore
  const params = new Map<string, Tensor>(Object.entries(w));
  const recording = recordGraph(
    (given) => {
      const { x, context, mask, time } = given as typeof inputs;
      const split = (t: Tensor): Tensor => t.view([b, t.shape[1]!, heads, d]).permute(0, 2, 1, 3);
      const project = (t: Tensor, weight: Tensor, bias: Tensor): Tensor =>
        split(linear(t, weight, p.bias ? { bias } : {}));
      const from = p.cross ? context : x;
      const [q, key, v] = [project(x, w.q, w.qb), project(from, w.k, w.kb), project(from, w.v, w.vb)];
      const masked = p.mask === 'row' || p.mask === 'full';
      const heard = attention(q, key, v, { causal: p.mask === 'causal', ...(masked && { mask }) });
      const tokens = add(linear(reshape(heard.permute(0, 2, 1, 3), [b, l, inner]), w.out), x);
      // As residual blocks take the time: one embedding, a projection a convolution.
      const embedding = cast(mul(w.frequencies, time), dtype);
      const image = tokens.view([b, l, 1, k]).permute(0, 3, 1, 2);
      const timed = (conv: Tensor, weight: Tensor, bias: Tensor): Tensor => {
        const t = linear(embedding, weight, { bias });
        return conv2d(image, conv, { residual: t.view([b, t.shape[1]!, 1, 1]) });
      };
      return { tokens, first: timed(w.c1, w.t1, w.b1), second: timed(w.c2, w.t2, w.b2) };
    },
    inputs,
    params,
  );
  return { ...recording, inputs, params };
}

/** The outputs of a plan of `graph` for the inputs of `given`. */
export async function runPlanned(
  graph: Graph,
  given: RandomGraph,
  device: Device,
): Promise<Record<string, ArrayLike<number>>> {
  const { inputs, params, constants } = given;
  using replay = new Replay(planGraph(graph, { device, params, constants }), device);
  replay.bind(new Map([...params, ...constants]));
  for (const { name } of replay.plan.inputs) replay.set(name, inputs[name]!);
  replay.run();
  using memory = new Scope();
  const outputs = memory.run(() =>
    replay.plan.outputs.map((port) => [port.name, replay.output(port)] as const),
  );
  const read = outputs.map(async ([name, t]) => [name, await t.data()] as const);
  return Object.fromEntries(await Promise.all(read));
}
