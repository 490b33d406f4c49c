// Stable Diffusion's op shapes on a device, ready to be timed in one way or another.

import { Scope } from '@darkroom/core';
import { definitionOf, dispatch } from '@darkroom/core/backend';
import type { Device } from '@darkroom/core';
import type { Cost, KernelOp } from '@darkroom/core/backend';
import { benchCases, buildInput } from '@darkroom/core/testing';

export interface OpRun {
  readonly name: string;
  /** Labels of the kernels that ran. */
  readonly kernel: string;
  readonly cost: Cost;
  /** Enqueues the op once. */
  readonly run: () => void;
}

/** Every op in turn, run once; its inputs are freed when `time` has resolved. */
export async function eachOp(
  device: Device,
  filter: string | undefined,
  time: (op: OpRun) => Promise<void>,
): Promise<void> {
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
      const cost = definition.cost(
        op,
        inputs.map((x) => x.spec),
      );
      await time({ name: test.name, kernel, cost, run });
    } finally {
      memory.dispose();
    }
  }
}
