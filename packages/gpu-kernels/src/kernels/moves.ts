// copy, gather, resize: kernels that only move elements, one invocation each (or four adjacent ones).

import { elementCount } from '@darkroom/core';
import type { ArgSpec, CopyOp, GatherOp, ResizeOp } from '@darkroom/core';
import { Shader } from '../text/shader.ts';
import type { Pass, Traits } from '../text/shader.ts';
import { collapse, orderedBy, quads } from './dimensions.ts';
import { flatThreads, groupsFor } from './kernel.ts';
import type { KernelFactory } from './kernel.ts';
import { fill } from './pointwise.ts';

/** The head of every flat kernel: `flat`, and its coordinates i0… in `shape`. */
function flatBody(s: Shader, shape: readonly number[], rest: string): Pass {
  const count = elementCount(shape);
  const body = `let flat = group * ${flatThreads}u + tid;
  if (flat >= ${s.u32('count', count)}) { return; }
  ${s.decode('i', 'flat', shape)}
  ${rest}`;
  return s.pass(flatThreads, groupsFor(count), body);
}

/** Input `a` of a copy to its place in the output. */
function placed(op: CopyOp, args: readonly ArgSpec[], a: number, traits: Traits, wide: boolean): Pass {
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
    const passes = inputs.map((a) => placed(op, args, a, traits, wide));
    if (op.fill === undefined) return { passes };
    const out = args.at(-1)!;
    const background = fill.prepare(
      { kind: 'fill', shape: op.shape, dtype: op.dtype, value: op.fill },
      [out],
      'wgsl',
      traits,
      wide,
    ).passes[0]!;
    // The value is known now: written where a run would put it; the output is this kernel's last argument.
    const params = new Uint32Array(background.params);
    for (const { word } of background.scalars)
      params[word] = new Uint32Array(new Float32Array([op.fill]).buffer)[0]!;
    const last = args.length - 1;
    const filled: Pass = {
      ...background,
      params,
      scalars: [],
      bindings: background.bindings.map((b) => ({ ...b, arg: last })),
      offsets: background.offsets.map((o) => ({ ...o, arg: last })),
    };
    return { passes: [filled, ...passes] };
  },
};

/** Ids outside the table give NaN (0 in integers): a device cannot throw. */
export const gather: KernelFactory<GatherOp> = {
  choices: () => ['wgsl'],
  prepare(op, args, _, traits) {
    const [table, ids, out] = args as [ArgSpec, ArgSpec, ArgSpec];
    const { axis } = op;
    const idRank = ids.layout.shape.length;
    const s = new Shader(traits, 'gather/wgsl', args);
    const [t, d, y] = [s.read(0), s.read(1), s.write(2)];
    const { shape } = out.layout;
    const tableStrides = shape.map((_n, i) =>
      i < axis ? table.layout.strides[i]! : i < axis + idRank ? 0 : table.layout.strides[i - idRank + 1]!,
    );
    const idStrides = shape.map((_n, i) =>
      i >= axis && i < axis + idRank ? ids.layout.strides[i - axis]! : 0,
    );
    const rows = s.u32('rows', table.layout.shape[axis]!);
    const body = `let id = i32(${d.get(s.dot('d', 'i', idStrides))});
  let source = ${s.dot('t', 'i', tableStrides)} + u32(clamp(id, 0, i32(${rows}) - 1)) * ${s.u32('row', table.layout.strides[axis]!)};
  let found = id >= 0 && u32(id) < ${rows};
  ${y.set(s.dot('y', 'i', out.layout.strides), `select(bitcast<f32>(${s.u32('nan', 0x7fc00000)}), ${t.get('source')}, found)`)}`;
    if (shape.length === 0) {
      return { passes: [flatBody(s, [1], body)] };
    }
    return { passes: [flatBody(s, shape, body)] };
  },
};

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
    return { passes: [flatBody(s, out.layout.shape, `${before}\n  ${store}`)] };
  },
};
