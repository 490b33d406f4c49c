import { expect, test } from 'vitest';
import { cpu } from './index.ts';
import { add, attention, conv2d, groupNorm, linear, tensor, trace, printGraph, runGraph, keep, Tensor, geglu, concat } from '@darkroom/core';

test('smoke', async () => {
  const device = await cpu();
  const x = tensor(Float32Array.from({ length: 2 * 4 * 6 * 6 }, (_, i) => Math.sin(i)), { shape: [2, 4, 6, 6], device });
  const w = tensor(Float32Array.from({ length: 8 * 4 * 9 }, (_, i) => Math.cos(i)), { shape: [8, 4, 3, 3], device });
  const b = tensor([1, 2, 3, 4, 5, 6, 7, 8], { device });
  const f = ({ x }: Readonly<Record<string, Tensor>>) => {
    const y = conv2d(x!, w, { padding: 1, bias: b, activation: 'silu' });
    const z = groupNorm(y, 4, { activation: 'silu' });
    const t = z.permute(0, 2, 3, 1).view([2, 36, 8]);
    const h = t.view([2, 36, 2, 4]).permute(0, 2, 1, 3);
    return add(concat([attention(h, h, h), h], 3), 1);
  };
  const eager = f({ x });
  const { graph } = trace(f, { x }, new Map([['w', w], ['b', b]]));
  console.log(printGraph(graph));
  const out = runGraph(graph, { x }, { params: new Map([['w', w], ['b', b]]), device });
  expect([...await out.output!.data()]).toEqual([...await eager.data()]);
  console.log(device.memory());
});
