// bench op: the op shapes of Stable Diffusion on this device: time, FLOP/s, bytes/s, and the share of the device's own
// matmul rate.

import { Scope } from '@darkroom/core';
import type { Device, KernelOp } from '@darkroom/core';
import { definitionOf, dispatch } from '@darkroom/core';
import { benchCases, buildInput } from '@darkroom/core/testing';
import { measure } from './measure.ts';

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
  for (const test of benchCases) {
    if (filter && !test.name.includes(filter)) continue;
    const memory = new Scope();
    try {
      const inputs = memory.run(() => test.inputs.map((spec, i) => buildInput(spec, i, device)));
      const op: KernelOp = test.op;
      const definition = definitionOf(op);
      const run = (): void => dispatch(definition, op, inputs, { device }).dispose();
      device.profile.enabled = true;
      device.profile.reset();
      run();
      const kernel = device.profile
        .report()
        .map((k) => k.label)
        .join(' + ');
      device.profile.enabled = false;
      const [timing] = await measure([{ name: test.name, run: async () => (run(), device.idle()) }], options);
      const cost = definition.cost(
        op,
        inputs.map((x) => x.spec),
      );
      rows.push({
        name: test.name,
        kernel,
        ms: timing!.fastestMs,
        p10: timing!.p10Ms,
        p90: timing!.p90Ms,
        gflops: cost.flops / timing!.fastestMs / 1e6,
        gbytes: cost.bytes / timing!.fastestMs / 1e6,
      });
    } finally {
      memory.dispose();
    }
  }
  return rows;
}
