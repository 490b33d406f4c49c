// Device time of a forward by kernel: every kernel is timed in its place, with caches as in use.

import { matmul } from '@darkroom/core';
import { randomTensor } from '../random-weights.ts';
import { modes } from './models.ts';
import type { ModeName } from './models.ts';
import { openPart } from './modules.ts';
import type { PartName } from './modules.ts';
import { spreadOf } from './sampling.ts';
import type { StageContext } from './stage.ts';
import { timedDevice } from './timed-device.ts';

const forwards = 5;

export function timeKernels(mode: ModeName, part: PartName) {
  return async ({ options, open, record, tuneStore }: StageContext): Promise<void> => {
    const inner = await open('cached');
    const { device, take } = await timedDevice(inner, tuneStore);
    const { run, dispose } = await openPart(part, device, modes[mode], options.tiny);
    run().dispose(); // compiles
    await take();
    const n = options.tiny ? 64 : 8192;
    const ahead = randomTensor([n, n], inner, modes[mode].dtype);
    const seen: (readonly { label: string; ms: number }[])[] = [];
    for (let i = 0; i < forwards; i++) {
      // Long work first: the device stays behind the host, so that no kernel's time holds a wait for its launch.
      for (let k = 0; k < (options.tiny ? 1 : 16); k++) matmul(ahead, ahead).dispose();
      run().dispose();
      seen.push(await take());
    }
    const totals = new Map<string, { calls: number; ms: number }>();
    for (const [at, { label }] of seen[0]!.entries()) {
      const sum = totals.get(label) ?? { calls: 0, ms: 0 };
      totals.set(label, {
        calls: sum.calls + 1,
        ms: sum.ms + spreadOf(seen.map((all) => all[at]!.ms)).median,
      });
    }
    const kernels = [...totals].map(([label, t]) => ({ label, ...t })).sort((a, b) => b.ms - a.ms);
    record({ kind: 'kernels', work: part, mode, kernels });
    ahead.dispose();
    dispose();
  };
}
