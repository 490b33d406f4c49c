// resize of (n, c, h, w): nearest or bilinear, one invocation an output element, or four channels of a pixel where they
// lie side by side.

import type { ArgSpec, ResizeOp } from '@darkroom/core/backend';
import { Shader } from '../text/shader.ts';
import type { KernelFactory } from './kernel.ts';
import { flatBody } from './shared/flat.ts';

export const resize: KernelFactory<ResizeOp> = {
  choices: () => ['wgsl'],
  prepare(op, args, _, traits, wide) {
    const [x, out] = args as [ArgSpec, ArgSpec];
    const [n, c, h, w] = x.layout.shape as [number, number, number, number];
    const [oh, ow] = op.size;
    const both = [x.layout.strides, out.layout.strides];
    // In the order of memory: channels last, or rows last.
    const inner = both.every((strides) => strides[1] === 1);
    const quad =
      wide &&
      inner &&
      c % 4 === 0 &&
      both.every((strides) => strides.every((v, d) => d === 1 || v % 4 === 0));
    const width = quad ? 4 : 1;
    const walk = inner ? [n, oh, ow, c / width] : [n, c, oh, ow];
    const [channel, row, column] = inner ? ['i3', 'i1', 'i2'] : ['i1', 'i2', 'i3'];
    const units = (strides: readonly number[]): number[] =>
      strides.map((v, d) => (quad && d !== 1 ? v / 4 : v));
    const s = new Shader(traits, `resize/${op.mode}`, args);
    const [read, y] = [s.read(0, width), s.write(1, width)];
    const [sn, sc, sh, sw] = units(x.layout.strides).map((v, d) => s.u32(`x_s${d}`, v)) as [
      string,
      string,
      string,
      string,
    ];
    const at = (r: string, col: string): string => read.get(`plane + ${r} * ${sh} + ${col} * ${sw}`);
    const [H, W, OH, OW] = [s.u32('h', h), s.u32('w', w), s.u32('oh', oh), s.u32('ow', ow)];
    let value: string;
    let before = `let plane = i0 * ${sn} + ${channel} * ${sc};`;
    if (op.mode === 'nearest') {
      // floor(i · (in/out)) with the ratio and the product rounded to float32, as torch has it.
      const source = (i: string, ratio: string, size: string): string =>
        `min(u32(floor(f32(${i}) * ${ratio})), ${size} - 1u)`;
      value = at(source(row!, s.f32('ratio_h', h / oh), H), source(column!, s.f32('ratio_w', w / ow), W));
    } else {
      // (i + ½)·in/out - ½ = ((2i + 1)·in - out) / (2·out): whole and fraction exact in integers.
      const centre = (name: string, i: string, size: string, to: string): string =>
        `let ${name}_n = u32(max(i32((2u * ${i} + 1u) * ${size}) - i32(${to}), 0));
  let ${name} = min(${name}_n / (2u * ${to}), ${size} - 1u);
  let ${name}_next = min(${name} + 1u, ${size} - 1u);
  let ${name}_f = f32(${name}_n % (2u * ${to})) / f32(2u * ${to});`;
      before += `\n  ${centre('r', row!, H, OH)}\n  ${centre('c', column!, W, OW)}
  let top = ${at('r', 'c')} * (1.0 - c_f) + ${at('r', 'c_next')} * c_f;
  let bottom = ${at('r_next', 'c')} * (1.0 - c_f) + ${at('r_next', 'c_next')} * c_f;`;
      value = 'top * (1.0 - r_f) + bottom * r_f';
    }
    const strides = units(out.layout.strides);
    const inOrder = inner ? [0, 2, 3, 1].map((d) => strides[d]!) : strides;
    const store = y.set(s.dot('y', 'i', inOrder), value);
    return { dispatches: [flatBody(s, walk, `${before}\n  ${store}`)] };
  },
};
