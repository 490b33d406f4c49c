// One expression at every element: an invocation an element, or four adjacent ones where every argument allows it.

import { elementCount } from '@darkroom/core/backend';
import type { Expr } from '@darkroom/core';
import type { ArgSpec } from '@darkroom/core/backend';
import { render } from '../../text/render.ts';
import { Shader } from '../../text/shader.ts';
import type { Traits } from '../../text/dispatch.ts';
import { flatThreads, groupsFor } from '../kernel.ts';
import type { KernelSpec } from '../kernel.ts';
import { broadcastStrides, collapse, orderedBy, quads } from './dimensions.ts';
import { usesIndex } from './expressions.ts';

/** Invocations from which on a map is large. */
const largeMap = 1 << 17;

/** The output gets `expr` of the inputs at every element. */
export function elementwise(
  expr: Expr,
  args: readonly ArgSpec[],
  traits: Traits,
  wide: boolean,
  label: string,
): KernelSpec {
  const out = args.length - 1;
  const { shape } = args[out]!.layout;
  const strides = args.map((a) => broadcastStrides(a.layout, shape));
  const whole = {
    shape: shape.length === 0 ? [1] : shape,
    strides: shape.length === 0 ? args.map(() => [0]) : strides,
  };
  const indexed = usesIndex(expr);
  const dims = indexed ? whole : orderedBy(collapse(shape, strides), out);
  const walks = args.map((_, a) => quads(dims, a));
  const quad = wide && !indexed && walks[out] === 'quad' && walks.every((w) => w !== undefined);
  const width = quad ? 4 : 1;
  const count = elementCount(shape) / width;
  // Large maps in large workgroups: a device starts only so many at a time.
  const threads = count > largeMap && traits.invocations >= 256 ? 256 : flatThreads;
  const walk = quad ? [...dims.shape.slice(0, -1), dims.shape.at(-1)! / 4] : dims.shape;

  const s = new Shader(traits, label, args);
  const y = s.write(out, width);
  const position = (a: number): string => {
    // In quads: all strides count units of four, but a splat's, which count elements.
    const units =
      quad && walks[a] === 'quad'
        ? dims.strides[a]!.map((x, d) => (d === walk.length - 1 ? x : x / 4))
        : dims.strides[a]!;
    return s.dot(`x${a}`, 'i', units);
  };
  const flat = s.u32('count', count);
  const decode = s.decode('i', 'flat', walk);
  const inputs = args.slice(0, out).map((_, a) => {
    const x = s.read(a, quad && walks[a] === 'quad' ? 4 : 1);
    const value = x.get(position(a));
    return quad && walks[a] === 'splat' ? `vec4<f32>(${value})` : value;
  });
  const { code, value } = render(
    s,
    expr,
    { input: (i) => inputs[i]!, scalar: (i) => s.scalar(i), index: (axis) => `f32(i${axis})` },
    width,
  );
  const body = `let flat = group * ${threads}u + tid;
  if (flat >= ${flat}) { return; }
  ${decode}
  ${code}
  ${y.set(position(out), value)}`;
  // Scheduler steps cancel digits: a fused product would not be the one that the definition rounds.
  return { dispatches: [s.dispatch(threads, groupsFor(count, threads), body, true)] };
}
