// The store of products: an epilogue (an expression of the accumulator and extra inputs) and the output's address, for
// quads of accumulators along one coordinate. Whole quads are loaded and stored where every tensor allows it.

import type { Expr } from '@darkroom/core';
import type { ArgSpec } from '@darkroom/core/backend';
import { render } from '../../text/render.ts';
import type { Shader } from '../../text/shader.ts';

/** The store of a product: the epilogue, and the output in coordinates o0, o1, …; quads run along one of them. */
export interface ResultPlace {
  readonly expr: Expr | undefined;
  /** Quads run along coordinate o<axis> of the result, within runs of this many adjacent columns. */
  readonly axis: number;
  readonly run: number;
  /** Strides over the coordinates: of each extra input (arguments 2 to the last but one), then of the output. */
  readonly strides: readonly (readonly number[])[];
  readonly wide: boolean;
  /** Texts: the coordinate along the axis at a column of the product, and how many columns there are from it on. */
  coordinate(col: string): string;
  rest(col: string): string;
  /** Statements that declare the other coordinates. */
  others(row: string, col: string): string;
}

/** Statements that store a vec4 at row, col…col+3 of a product. */
export function resultStore(
  s: Shader,
  args: readonly ArgSpec[],
  p: ResultPlace,
): (row: string, col: string, v: string) => string {
  const { axis } = p;
  const out = p.strides.length - 1;
  const aligned = (strides: readonly number[]): boolean =>
    strides.every((stride, d) => d === axis || stride % 4 === 0);
  const quads =
    p.wide &&
    p.run % 4 === 0 &&
    p.strides.every((x, a) => (x[axis] === 0 && a !== out) || (x[axis] === 1 && aligned(x)));
  const width = quads ? 4 : 1;
  const extras = p.strides.slice(0, -1).map((strides, i) => {
    const splat = quads && strides[axis] === 0;
    const value = s.read(i + 2, splat ? 1 : width).get(s.dot(`extra${i}`, 'o', inUnits(strides, !splat)));
    return splat ? `vec4<f32>(${value})` : value;
  });
  const y = s.write(args.length - 1, width);
  const place = s.dot('y', 'o', inUnits(p.strides[out]!, true));
  const finish = (acc: string): { readonly code: string; readonly value: string } =>
    p.expr === undefined
      ? { code: '', value: acc }
      : render(s, p.expr, { input: (i) => (i === 0 ? acc : extras[i - 1]!), scalar: () => '0.0' }, width);

  /** In units of quads where those are used; the axis itself then counts quads. */
  function inUnits(strides: readonly number[], counted: boolean): readonly number[] {
    return quads && counted ? strides.map((x, d) => (d === axis ? x : x / 4)) : strides;
  }
  return (row, col, v) => {
    const { code, value } = finish('acc');
    if (quads) {
      return `{ ${p.others(row, col)} let o${axis} = ${p.coordinate(col)} / 4u; let acc = ${v};
        ${code} ${y.set(place, value)} }`;
    }
    return `{ let quad = ${v};
      for (var j = 0u; j < min(4u, ${p.rest(col)}); j++) {
        let acc = quad[j]; ${p.others(row, `(${col} + j)`)} let o${axis} = ${p.coordinate(`(${col} + j)`)};
        ${code} ${y.set(place, value)}
      } }`;
  };
}
