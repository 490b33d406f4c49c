// softmax along any axis: maximum, sum of exponentials, quotient; three reads of a row.

import type { ArgSpec, SoftmaxOp } from '@darkroom/core/backend';
import { Shader } from '../text/shader.ts';
import type { KernelFactory } from './kernel.ts';
import { acrossLanes, eachElement, isEmpty, rowKernel, rowSpace, rowThreads } from './shared/rows.ts';

export const softmax: KernelFactory<SoftmaxOp> = {
  choices: () => ['rows'],
  prepare(op, args, _, traits) {
    const [x, out] = args as [ArgSpec, ArgSpec];
    if (isEmpty(x.layout.shape)) return { dispatches: [] };
    const s = new Shader(traits, 'softmax/rows', args);
    const [read, y] = [s.read(0), s.write(1)];
    const space = rowSpace(x.layout.shape, [x.layout.strides, out.layout.strides], [op.axis]);
    return rowKernel(s, space, ['x', 'y'], (lanes) => {
      acrossLanes(s, 'row_max', lanes, rowThreads, 'max(a, b)');
      acrossLanes(s, 'row_sum', lanes, rowThreads, 'a + b');
      const value = read.get('x_row + x_pos(e)');
      return `var highest = -bitcast<f32>(${s.u32('inf', 0x7f800000)});
  ${eachElement(`highest = max(highest, ${value});`, lanes)}
  highest = row_max(tid, highest);
  var total = 0.0;
  ${eachElement(`total += exp(${value} - highest);`, lanes)}
  total = row_sum(tid, total);
  if (live) { ${eachElement(y.set('y_row + y_pos(e)', `exp(${value} - highest) / total`), lanes)} }`;
    });
  },
};
