// Darkroom on its WebGPU backend, tuned for the work before it is timed.

import { attention, conv2d, matmul, Scope, tensor, toFormat } from '@darkroom/core';
import type { Device, MemoryFormat, Tensor } from '@darkroom/core';
import type { Candidate, Form } from './candidate.ts';
import type { Gpu } from './dawn.ts';
import { loadPeer } from './load.ts';
import { works } from './work.ts';
import type { WorkId } from './work.ts';

async function openDevice(gpu: Gpu): Promise<Device> {
  let backend: { webgpu(options: { autotune: 'full'; gpu: Gpu }): Promise<Device> };
  try {
    backend = await loadPeer('@darkroom/backend-webgpu');
  } catch (error) {
    throw new Error(`@darkroom/backend-webgpu does not load (is it built?): ${(error as Error).message}`);
  }
  return backend.webgpu({ autotune: 'full', gpu });
}

export async function openDarkroom(gpu: Gpu): Promise<Candidate> {
  const device = await openDevice(gpu);
  const form = (
    name: string,
    work: WorkId,
    f: (...inputs: Tensor[]) => Tensor,
    memoryFormat: MemoryFormat = 'contiguous',
  ): Form => ({
    name,
    async prepare(inputs) {
      const memory = new Scope();
      const tensors = memory.run(() =>
        inputs.map((values, i) => {
          const { shape } = works[work].inputs[i]!;
          return toFormat(tensor(values, { shape, device }), memoryFormat);
        }),
      );
      const call = (): Tensor => f(...tensors);
      return {
        async run() {
          const y = call();
          await device.idle();
          y.dispose();
        },
        async result() {
          const y = call();
          const values = (await y.data()) as Float32Array;
          y.dispose();
          return values;
        },
        tune: async () => void (await device.tune()),
        dispose: () => memory.dispose(),
      };
    },
  });
  return {
    includesReadback: false,
    forms: {
      matmul: [form('matmul', 'matmul', (a, b) => matmul(a!, b!))],
      conv: [
        form('conv2d contiguous', 'conv', (x, w) => conv2d(x!, w!, { padding: 1 })),
        form('conv2d channels last', 'conv', (x, w) => conv2d(x!, w!, { padding: 1 }), 'channelsLast'),
      ],
      attention: [form('attention', 'attention', (q, k, v) => attention(q!, k!, v!))],
    },
  };
}
