// Measures the rates of the device's largest product and copy in this run; floors are computed from them.

import { contiguous, copy, matmul } from '@darkroom/core';
import { randomTensor } from '../random-weights.ts';
import { modes, usePrecision } from './models.ts';
import { samplingFor, tuned } from './modules.ts';
import { sample } from './sampling.ts';
import type { StageContext } from './stage.ts';

export async function rates(context: StageContext): Promise<void> {
  const { options, open, record, begin } = context;
  const device = await open('full');
  const sampling = samplingFor(options.tiny, 1.5);
  const n = options.tiny ? 64 : 8192;
  for (const mode of Object.values(modes)) {
    begin(`matmul ${mode.name}`);
    usePrecision(device, mode);
    const [a, b] = [randomTensor([n, n], device, mode.dtype), randomTensor([n, n], device, mode.dtype)];
    const run = (): void => matmul(a, b).dispose();
    await tuned(device, context, async () => run(), 4);
    const ms = await sample(() => device.backend.time(run), sampling);
    const perSecond = (2e3 * n ** 3) / ms.median;
    record({ kind: 'rate', name: 'matmul', mode: mode.name, shape: [n, n, n], perSecond, ms });
    a.dispose();
    b.dispose();
  }
  begin('copy');
  // 1 GiB, many times what caches hold.
  const elements = options.tiny ? 1 << 10 : 1 << 28;
  const from = randomTensor([elements], device);
  const to = contiguous(copy(from));
  const slice = (x: typeof from) => ({ buffer: x.storage('copy').buffer, offset: 0, bytes: x.bytes });
  const copies = {
    driver: () => device.backend.copy(slice(to), slice(from)),
    kernel: () => copy(from).dispose(),
  };
  for (const [mode, run] of Object.entries(copies)) {
    const ms = await sample(() => device.backend.time(run), sampling);
    const perSecond = (2e3 * from.bytes) / ms.median;
    record({ kind: 'rate', name: 'copy', mode, shape: [elements], perSecond, ms });
  }
}
