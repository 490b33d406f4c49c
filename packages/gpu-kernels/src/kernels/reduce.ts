// reduce over any axes: sum, max, min, argmax, with an expression before and one after.

import type { Expr } from '@darkroom/core';
import type { ArgSpec, ReduceOp } from '@darkroom/core/backend';
import { mathFunction } from '../text/math.ts';
import { render } from '../text/render.ts';
import { Shader } from '../text/shader.ts';
import type { KernelFactory } from './kernel.ts';
import { usesIndex } from './shared/expressions.ts';
import { acrossLanes, eachElement, isEmpty, rowKernel, rowSpace, rowThreads } from './shared/rows.ts';

export const reduce: KernelFactory<ReduceOp> = {
  // An empty reduction of max has no value; and coordinates mean nothing inside one.
  choices: (op, args) =>
    (op.pre && usesIndex(op.pre)) ||
    (op.post && usesIndex(op.post)) ||
    (op.fn !== 'sum' && isEmpty(args[0]!.layout.shape))
      ? []
      : ['rows'],
  prepare(op, args, _, traits) {
    const [x, out] = args as [ArgSpec, ArgSpec];
    const { shape, strides } = x.layout;
    // The output's strides, seen from the input's axes; reduced ones stand still.
    let kept = 0;
    const outStrides = shape.map((_n, d) => {
      if (op.axes.includes(d)) {
        if (op.keepDims) kept++;
        return 0;
      }
      return out.layout.strides[kept++]!;
    });
    if (isEmpty(out.layout.shape)) return { dispatches: [] };
    const s = new Shader(traits, `reduce/${op.fn}`, args);
    for (const [name, text] of mathFunction('is_nan', 1)) s.use(name, text);
    const [read, y] = [s.read(0), s.write(1)];
    const space = rowSpace(shape, [strides, outStrides], op.axes);
    const value = (): { code: string; value: string } =>
      applied(s, op.pre, read.get('x_row + x_pos(e)'), 'p');
    const finish = (text: string): string => {
      const { code, value: v } = applied(s, op.post, text, 'q');
      return `if (live && lane == 0u) { ${code} ${y.set('y_row', v)} }`;
    };
    return rowKernel(s, space, ['x', 'y'], (lanes) => {
      const pre = value();
      if (op.fn === 'sum') {
        acrossLanes(s, 'row_sum', lanes, rowThreads, 'a + b');
        return `var total = 0.0;
  ${eachElement(`${pre.code} total += ${pre.value};`, lanes)}
  total = row_sum(tid, total);
  ${finish('total')}`;
      }
      // (bits of the value, index): the better value, the earlier of equals; NaN beats everything.
      const order = op.fn === 'min' ? '<' : '>';
      s.use(
        'better',
        `fn better(p: vec2<u32>, q: vec2<u32>) -> vec2<u32> {
  if (q.y == 0xffffffffu) { return p; }
  if (p.y == 0xffffffffu) { return q; }
  let a = bitcast<f32>(p.x);
  let b = bitcast<f32>(q.x);
  let earlier = p.y < q.y;
  if (is_nan(a) || is_nan(b)) { return select(q, p, is_nan(a) && (!is_nan(b) || earlier)); }
  return select(q, p, a ${order} b || (a == b && earlier));
}`,
      );
      acrossLanes(s, 'row_best', lanes, rowThreads, 'better(a, b)', 'vec2<u32>');
      return `var best = vec2<u32>(0u, 0xffffffffu);
  ${eachElement(`${pre.code} best = better(best, vec2<u32>(bitcast<u32>(${pre.value}), e));`, lanes)}
  best = row_best(tid, best);
  ${finish(op.fn === 'argmax' ? 'f32(best.y)' : 'bitcast<f32>(best.x)')}`;
    });
  },
};

function applied(
  s: Shader,
  expr: Expr | undefined,
  input: string,
  prefix: string,
): { code: string; value: string } {
  if (expr === undefined) return { code: '', value: input };
  return render(s, expr, { input: () => input, scalar: () => '0.0' }, 1, prefix);
}
