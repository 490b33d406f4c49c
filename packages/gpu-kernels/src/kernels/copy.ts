// copy: each input to its place in the output, one dispatch an input, after the background where one is given.

import { elementCount } from '@darkroom/core/backend';
import type { ArgSpec, CopyOp } from '@darkroom/core/backend';
import { Shader } from '../text/shader.ts';
import type { KernelDispatch, Traits } from '../text/dispatch.ts';
import { fill } from './fill.ts';
import type { KernelFactory } from './kernel.ts';
import { collapse, orderedBy, quads } from './shared/dimensions.ts';
import { flatBody } from './shared/flat.ts';

/** Input `a` of a copy to its place in the output. */
function placed(
  op: CopyOp,
  args: readonly ArgSpec[],
  a: number,
  traits: Traits,
  wide: boolean,
): KernelDispatch {
  const out = args.length - 1;
  const [x, y] = [args[a]!, args[out]!];
  const start = op.starts[a]!.reduce((sum, at, d) => sum + at * y.layout.strides[d]!, 0);
  // In the order of whichever side walks memory: the output's, so that stores are adjacent.
  const dims = orderedBy(collapse(x.layout.shape, [x.layout.strides, y.layout.strides]), 1);
  const raw = x.dtype === y.dtype;
  const quad = wide && start % 4 === 0 && quads(dims, 0) === 'quad' && quads(dims, 1) === 'quad';
  const width = quad ? 4 : 1;
  const last = dims.shape.length - 1;
  const walk = quad ? dims.shape.map((n, d) => (d === last ? n / 4 : n)) : dims.shape;
  const [from, to] = dims.strides.map((s) => (quad ? s.map((v, d) => (d === last ? v : v / 4)) : s)) as [
    number[],
    number[],
  ];
  const s = new Shader(traits, 'copy/wgsl', args);
  const [read, write] = [s.read(a, width, raw), s.write(out, width, raw)];
  const at = `${s.u32('start', start / width)} + ${s.dot('y', 'i', to)}`;
  // Named by role, not by argument, so that inputs of a concatenation share a pipeline.
  return flatBody(s, walk, write.set(at, read.get(s.dot('x', 'i', from))));
}

export const copy: KernelFactory<CopyOp> = {
  choices: () => ['wgsl'],
  prepare(op, args, _, traits, wide) {
    const inputs = args.slice(0, -1).flatMap((x, a) => (elementCount(x.layout.shape) === 0 ? [] : [a]));
    const dispatches = inputs.map((a) => placed(op, args, a, traits, wide));
    if (op.fill === undefined) return { dispatches };
    const out = args.at(-1)!;
    const background = fill.prepare(
      { kind: 'fill', shape: op.shape, dtype: op.dtype, value: op.fill },
      [out],
      'wgsl',
      traits,
      wide,
    ).dispatches[0]!;
    // The background's value is known now, so it is written into the parameters here, not at each run.
    const params = new Uint32Array(background.params);
    for (const { word } of background.scalars)
      params[word] = new Uint32Array(new Float32Array([op.fill]).buffer)[0]!;
    const last = args.length - 1;
    const filled: KernelDispatch = {
      ...background,
      params,
      scalars: [],
      bindings: background.bindings.map((b) => ({ ...b, arg: last })),
      offsets: background.offsets.map((o) => ({ ...o, arg: last })),
    };
    return { dispatches: [filled, ...dispatches] };
  },
};
