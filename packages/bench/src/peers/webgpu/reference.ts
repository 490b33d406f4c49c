// The reference of every candidate's result: the work on Darkroom's CPU backend.

import { cpu } from '@darkroom/backend-cpu';
import { attention, conv2d, matmul, tensor } from '@darkroom/core';
import { inputsOf, works } from './work.ts';
import type { WorkId } from './work.ts';

export async function referenceOf(work: WorkId): Promise<Float32Array> {
  const device = await cpu();
  try {
    const { inputs } = works[work];
    const [x, y, z] = inputsOf(work).map((values, i) => tensor(values, { shape: inputs[i]!.shape, device }));
    const results = {
      matmul: () => matmul(x!, y!),
      conv: () => conv2d(x!, y!, { padding: 1 }),
      attention: () => attention(x!, y!, z!),
    };
    return (await results[work]().data()) as Float32Array;
  } finally {
    device[Symbol.dispose](); // and with it the tensors
  }
}
