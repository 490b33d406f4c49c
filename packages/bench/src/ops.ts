// bench op: the op shapes of Stable Diffusion on this device by the host's clock: time, FLOP/s and bytes/s.

import type { Device } from '@darkroom/core';
import { measure } from './measure.ts';
import { eachOp } from './op-runs.ts';

export interface OpRow {
  readonly name: string;
  readonly kernel: string;
  readonly ms: number;
  readonly p10: number;
  readonly p90: number;
  readonly gflops: number;
  readonly gbytes: number;
}

export async function benchOps(
  device: Device,
  filter: string | undefined,
  options: { seconds: number; rounds: number },
): Promise<OpRow[]> {
  const rows: OpRow[] = [];
  await eachOp(device, filter, async ({ name, kernel, cost, run }) => {
    const [timing] = await measure([{ name, run: async () => (run(), device.idle()) }], options);
    rows.push({
      name,
      kernel,
      ms: timing!.fastestMs,
      p10: timing!.p10Ms,
      p90: timing!.p90Ms,
      gflops: cost.flops / timing!.fastestMs / 1e6,
      gbytes: cost.bytes / timing!.fastestMs / 1e6,
    });
  });
  return rows;
}
