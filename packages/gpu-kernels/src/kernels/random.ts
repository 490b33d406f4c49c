// random: Philox4x32-10 numbers, uniform or normal, one invocation an element.

import { elementCount } from '@darkroom/core/backend';
import type { Expr } from '@darkroom/core';
import type { RandomOp } from '@darkroom/core/backend';
import { render } from '../text/render.ts';
import { Shader } from '../text/shader.ts';
import { flatThreads, groupsFor } from './kernel.ts';
import type { KernelFactory, KernelSpec } from './kernel.ts';

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

    function flat(before: string): KernelSpec {
      const body = `let flat = group * ${flatThreads}u + tid;
  if (flat >= ${s.u32('count', count)}) { return; }
  let block = flat >> 2u;
  let lane = flat & 3u;
  let low = ${low} + block;
  let w = philox(vec2<u32>(low, ${high} + select(0u, 1u, low < block)), ${key});
  ${before}
  ${s.decode('i', 'flat', shape.length === 0 ? [1] : shape)}
  ${y.set(s.dot('y', 'i', shape.length === 0 ? [0] : strides), value)}`;
      return { dispatches: [s.dispatch(flatThreads, groupsFor(count), body)] };
    }
  },
};
