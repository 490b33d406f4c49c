// resize of (n, c, h, w): nearest or bilinear, one invocation an output element.

import type { ArgSpec, ResizeOp } from '@darkroom/core/backend';
import { Shader } from '../text/shader.ts';
import type { KernelFactory } from './kernel.ts';
import { flatBody } from './shared/flat.ts';

export const resize: KernelFactory<ResizeOp> = {
  choices: () => ['wgsl'],
  prepare(op, args, _, traits) {
    const [x, out] = args as [ArgSpec, ArgSpec];
    const [, , h, w] = x.layout.shape as [number, number, number, number];
    const [oh, ow] = op.size;
    const s = new Shader(traits, `resize/${op.mode}`, args);
    const [read, y] = [s.read(0), s.write(1)];
    const [sn, sc, sh, sw] = x.layout.strides.map((v, d) => s.u32(`x_s${d}`, v)) as [
      string,
      string,
      string,
      string,
    ];
    const at = (row: string, col: string): string => read.get(`plane + ${row} * ${sh} + ${col} * ${sw}`);
    const [H, W, OH, OW] = [s.u32('h', h), s.u32('w', w), s.u32('oh', oh), s.u32('ow', ow)];
    let value: string;
    let before = `let plane = i0 * ${sn} + i1 * ${sc};`;
    if (op.mode === 'nearest') {
      // floor(i · (in/out)) with the ratio and the product rounded to float32, as torch has it.
      const source = (i: string, ratio: string, size: string): string =>
        `min(u32(floor(f32(${i}) * ${ratio})), ${size} - 1u)`;
      value = at(source('i2', s.f32('ratio_h', h / oh), H), source('i3', s.f32('ratio_w', w / ow), W));
    } else {
      // (i + ½)·in/out - ½ = ((2i + 1)·in - out) / (2·out): whole and fraction exact in integers.
      const centre = (name: string, i: string, size: string, to: string): string =>
        `let ${name}_n = u32(max(i32((2u * ${i} + 1u) * ${size}) - i32(${to}), 0));
  let ${name} = min(${name}_n / (2u * ${to}), ${size} - 1u);
  let ${name}_next = min(${name} + 1u, ${size} - 1u);
  let ${name}_f = f32(${name}_n % (2u * ${to})) / f32(2u * ${to});`;
      before += `\n  ${centre('r', 'i2', H, OH)}\n  ${centre('c', 'i3', W, OW)}
  let top = ${at('r', 'c')} * (1.0 - c_f) + ${at('r', 'c_next')} * c_f;
  let bottom = ${at('r_next', 'c')} * (1.0 - c_f) + ${at('r_next', 'c_next')} * c_f;`;
      value = 'top * (1.0 - r_f) + bottom * r_f';
    }
    const store = y.set(s.dot('y', 'i', out.layout.strides), value);
    return { dispatches: [flatBody(s, out.layout.shape, `${before}\n  ${store}`)] };
  },
};
