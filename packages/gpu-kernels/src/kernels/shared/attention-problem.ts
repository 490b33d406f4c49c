// Shared by all attention kernels: reads of q, k, v and writes of the result in quads of the head, in any layout; scale
// and mask of a score.

import type { ArgSpec, AttentionOp } from '@darkroom/core/backend';
import { Shader } from '../../text/shader.ts';
import type { Traits } from '../../text/dispatch.ts';
import type { Access } from '../../text/access.ts';
import { broadcastStrides } from './dimensions.ts';

/** One attention op as texts see it. */
export interface AttentionProblem {
  readonly s: Shader;
  readonly op: AttentionOp;
  readonly d: number;
  readonly q: Access;
  readonly k: Access;
  readonly v: Access;
  readonly y: Access;
  /** Reads quads of q, k, v (vec4) at a text position; `at` counts quads of the head. */
  quad(which: 'q' | 'k' | 'v', row: string, at: string): string;
  /** Statements that store quad `at` of the result row. */
  put(row: string, at: string, value: string): string;
  /** Score with scale and mask, given the raw dot product. */
  score(raw: string, row: string, key: string): string;
  /** Declares b, h and the bases of every argument from `head` = b · heads + h. */
  readonly bases: string;
  readonly keys: string;
  readonly queries: string;
}

/** Begins the kernel `label` of `op`. `wide` as in KernelFactory. */
export function attentionProblem(
  label: string,
  op: AttentionOp,
  args: readonly ArgSpec[],
  traits: Traits,
  wide: boolean,
): AttentionProblem {
  const [q, k, v] = args.map((a) => a.layout);
  const out = args.at(-1)!.layout;
  const [b, heads, l, d] = q!.shape as [number, number, number, number];
  const keys = k!.shape[2]!;
  const s = new Shader(traits, label, args);
  const fits = (layout: ArgSpec['layout']): boolean =>
    wide && d % 4 === 0 && layout.strides[3] === 1 && layout.strides.slice(0, 3).every((x) => x % 4 === 0);
  const names = ['q', 'k', 'v', 'y'] as const;
  const layouts = [q!, k!, v!, out];
  const widths = layouts.map((layout) => (fits(layout) ? 4 : 1));
  const accesses = [s.read(0, widths[0] as 1), s.read(1, widths[1] as 1), s.read(2, widths[2] as 1)];
  const mask = op.mask === 'additive' ? s.read(3) : undefined;
  const y = s.write(args.length - 1, widths[3] as 1);
  const unit = (i: number, dim: number): string =>
    s.u32(`${names[i]}_s${dim}`, layouts[i]!.strides[dim]! / widths[i]!);
  const D = s.u32('d', d);
  const ragged = d % 4 !== 0;

  const quad = (which: 'q' | 'k' | 'v', row: string, at: string): string => {
    const i = names.indexOf(which);
    const base = `${which}_base + (${row}) * ${unit(i, 2)}`;
    if (widths[i] === 4) return accesses[i]!.get(`${base} + ${at}`);
    const step = s.u32(`${which}_step`, layouts[i]!.strides[3]!);
    const lane = (j: number): string =>
      accesses[i]!.getIf(
        `${base} + ((${at}) * 4u + ${j}u) * ${step}`,
        ragged ? `(${at}) * 4u + ${j}u < ${D}` : 'true',
      );
    return `vec4<f32>(${[0, 1, 2, 3].map(lane).join(', ')})`;
  };
  const put = (row: string, at: string, value: string): string => {
    const base = `y_base + (${row}) * ${unit(3, 2)}`;
    if (widths[3] === 4) return y.set(`${base} + ${at}`, value);
    const step = s.u32('y_step', out.strides[3]!);
    return `{ let four = ${value}; for (var j = 0u; j < min(4u, ${D} - (${at}) * 4u); j++) { ${y.set(`${base} + ((${at}) * 4u + j) * ${step}`, 'four[j]')} } }`;
  };
  const minusInfinity = `-bitcast<f32>(${s.u32('inf', 0x7f800000)})`;
  const scale = s.f32('scale', op.scale);
  const maskStrides = mask && broadcastStrides(args[3]!.layout, [b, heads, l, keys]);
  const score = (raw: string, row: string, key: string): string => {
    const scaled = `${raw} * ${scale}`;
    if (op.mask === 'causal') return `select(${scaled}, ${minusInfinity}, ${key} > ${row})`;
    if (!mask) return scaled;
    const position = ['b', 'h', `(${row})`, `(${key})`]
      .flatMap((t, i) => (maskStrides![i] === 0 ? [] : [`${t} * ${s.u32(`mask_s${i}`, maskStrides![i]!)}`]))
      .join(' + ');
    return `${scaled} + ${mask.get(position || '0u')}`;
  };
  const base = (i: number): string => `let ${names[i]}_base = b * ${unit(i, 0)} + h * ${unit(i, 1)};`;
  return {
    s,
    op,
    d,
    q: accesses[0]!,
    k: accesses[1]!,
    v: accesses[2]!,
    y,
    quad,
    put,
    score,
    bases: `let b = head / ${s.u32('heads', heads)}; let h = head % ${s.u32('heads', heads)};
  ${[0, 1, 2, 3].map(base).join(' ')}`,
    keys: s.u32('keys', keys),
    queries: s.u32('queries', l),
  };
}
