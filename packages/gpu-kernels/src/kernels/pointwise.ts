// map, fill and random: one invocation an element, or four adjacent ones where every argument allows it.

import { elementCount } from '@darkroom/core';
import type { ArgSpec, Expr, FillOp, MapOp, RandomOp } from '@darkroom/core';
import { render } from '../text/render.ts';
import { Shader } from '../text/shader.ts';
import type { Traits } from '../text/shader.ts';
import { broadcastStrides, collapse, orderedBy, quads } from './dimensions.ts';
import { usesIndex } from './expressions.ts';
import { flatThreads, groupsFor } from './kernel.ts';
import type { KernelFactory, KernelPlan } from './kernel.ts';

/** The output gets `expr` of the inputs at every element. */
function mapPlan(
  expr: Expr,
  args: readonly ArgSpec[],
  traits: Traits,
  wide: boolean,
  label: string,
): KernelPlan {
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
  const body = `let flat = group * ${flatThreads}u + tid;
  if (flat >= ${flat}) { return; }
  ${decode}
  ${code}
  ${y.set(position(out), value)}`;
  // Scheduler steps cancel digits: a fused product would not be the one that the definition rounds.
  return { passes: [s.pass(flatThreads, groupsFor(count), body, true)] };
}

export const map: KernelFactory<MapOp> = {
  choices: (_, args, traits) => (args.length > traits.bindings ? [] : ['wgsl']),
  prepare: (op, args, _, traits, wide) => mapPlan(op.expr, args, traits, wide, 'map/wgsl'),
};

export const fill: KernelFactory<FillOp> = {
  choices: () => ['wgsl'],
  prepare: (_, args, __, traits, wide) => mapPlan(['scalar', 0], args, traits, wide, 'fill/wgsl'),
};

/** Philox4x32-10; the 64-bit products are put together from 16-bit halves. */
const philox = `fn mul_wide(a: u32, b: u32) -> vec2<u32> {
  let al = a & 0xffffu; let ah = a >> 16u; let bl = b & 0xffffu; let bh = b >> 16u;
  let mid = ah * bl + ((al * bl) >> 16u);
  let mid2 = al * bh + (mid & 0xffffu);
  return vec2<u32>(ah * bh + (mid >> 16u) + (mid2 >> 16u), a * b);
}
fn philox(counter: vec2<u32>, key: vec2<u32>) -> vec4<u32> {
  var c = vec4<u32>(counter, 0u, 0u);
  var k = key;
  for (var round = 0u; round < 10u; round++) {
    let p = mul_wide(0xd2511f53u, c.x);
    let q = mul_wide(0xcd9e8d57u, c.z);
    c = vec4<u32>(q.x ^ c.y ^ k.x, q.y, p.x ^ c.w ^ k.y, p.y);
    k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}`;

// -2·ln((w + 1)·2^-32): near 1 from what is missing to 1, by the series of atanh, so that small radii keep digits.
const radius = `fn radius(w: u32) -> f32 {
  let missing = f32(0xffffffffu - w) * 2.3283064365386963e-10;
  let s = missing / (2.0 - missing);
  let q = s * s;
  let near = 4.0 * s * (1.0 + q * (0.33333333 + q * (0.2 + q * (0.14285714 + q * 0.11111111))));
  let far = -2.0 * log((f32(w) + 1.0) * 2.3283064365386963e-10);
  return sqrt(select(far, near, missing < 0.25));
}`;

export const random: KernelFactory<RandomOp> = {
  choices: () => ['philox'],
  prepare(op, args, _, traits) {
    const { shape, strides } = args[0]!.layout;
    const s = new Shader(traits, 'random/philox', args);
    const y = s.write(0);
    const count = elementCount(shape);
    s.use('philox', philox);
    const key = `vec2<u32>(${s.scalar(0, 'low')}, ${s.scalar(1, 'low')})`;
    const [low, high] = [s.scalar(2, 'low'), s.scalar(2, 'high')];
    let value = 'f32(w[lane] >> 8u) * 5.9604644775390625e-8';
    if (op.distribution === 'normal') {
      s.use('radius', radius);
      const turn: Expr = ['mul', ['in', 0], 2 * Math.PI * 2 ** -32];
      const wave = render(
        s,
        ['where', ['in', 1], ['sin', turn], ['cos', turn]],
        { input: (i) => (i === 0 ? 'f32(b)' : 'f32(lane & 1u)'), scalar: () => '' },
        1,
      );
      value = `radius(a) * ${wave.value}`;
      return flat(`let a = select(w.z, w.x, lane < 2u);
  let b = select(w.w, w.y, lane < 2u);
  ${wave.code}`);
    }
    return flat('');

    function flat(before: string): KernelPlan {
      const body = `let flat = group * ${flatThreads}u + tid;
  if (flat >= ${s.u32('count', count)}) { return; }
  let block = flat >> 2u;
  let lane = flat & 3u;
  let low = ${low} + block;
  let w = philox(vec2<u32>(low, ${high} + select(0u, 1u, low < block)), ${key});
  ${before}
  ${s.decode('i', 'flat', shape.length === 0 ? [1] : shape)}
  ${y.set(s.dot('y', 'i', shape.length === 0 ? [0] : strides), value)}`;
      return { passes: [s.pass(flatThreads, groupsFor(count), body)] };
    }
  },
};
