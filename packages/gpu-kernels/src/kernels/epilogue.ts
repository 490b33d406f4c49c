// The epilogue of products: an expression of the accumulator and extra inputs, rendered where the result is stored.

import type { ArgSpec, Expr } from '@darkroom/core';
import { render } from '../text/render.ts';
import type { Shader } from '../text/shader.ts';
import { broadcastStrides } from './dimensions.ts';

/**
 * A function from the accumulator's text to statements and a value. Extra inputs are arguments 2 to the last but one,
 * read at the output coordinates `prefix0…` of `shape`.
 */
export function epilogueOf(
  s: Shader,
  expr: Expr | undefined,
  args: readonly ArgSpec[],
  shape: readonly number[],
  prefix: string,
): (acc: string) => { readonly code: string; readonly value: string } {
  if (expr === undefined) return (acc) => ({ code: '', value: acc });
  const extras = args.slice(2, -1).map((a, i) => {
    const strides = broadcastStrides(a.layout, shape);
    return s.read(i + 2).get(s.dot(`extra${i}`, prefix, strides));
  });
  return (acc) => render(s, expr, { input: (i) => (i === 0 ? acc : extras[i - 1]!), scalar: () => '0.0' }, 1);
}
