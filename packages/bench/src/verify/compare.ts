// Kernel cases by one choice of the device, beside the CPU's result: how far they differ, in units of what is allowed.

import { Scope } from '@darkroom/core';
import { definitionOf, dispatch } from '@darkroom/core/backend';
import { compileAhead } from '@darkroom/core/graph';
import { buildInput, choosing, kernelTolerance } from '@darkroom/core/testing';
import type { DataArray, Device } from '@darkroom/core';
import type { ArgSpec } from '@darkroom/core/backend';
import type { KernelCase, Tolerance } from '@darkroom/core/testing';

/** A case, and the choice that shall run it; undefined: the device's first. */
export interface ChosenCase {
  readonly test: KernelCase;
  readonly id?: string | undefined;
}

/** The largest difference of two results. `share`: in units of what is allowed there; at most 1 passes. */
export interface Difference {
  readonly share: number;
  readonly difference: number;
  readonly at: number;
  readonly got: number;
  readonly want: number;
}

/** A result, with what a fast kernel may differ from it. */
export interface Result {
  readonly values: DataArray;
  readonly tolerance: Tolerance;
}

export const nameOf = ({ test, id }: ChosenCase): string =>
  id === undefined ? test.name : `${id}: ${test.name}`;

/** The result of a case on a device. */
export async function resultOf({ op, inputs }: KernelCase, device: Device): Promise<Result> {
  using memory = new Scope();
  const tensors = memory.run(() => inputs.map((x, i) => buildInput(x, i, device)));
  const output = memory.run(() => dispatch(definitionOf(op), op, tensors));
  const specs = tensors.map((x) => x.spec);
  return { values: await output.data(), tolerance: kernelTolerance(op, specs, output.dtype) };
}

/** The worst element; a value that is not a number where one is wanted, or a missing one, is infinitely wrong. */
export function differenceOf(got: ArrayLike<number>, { values, tolerance }: Result): Difference {
  let worst: Difference = { share: 0, difference: 0, at: -1, got: NaN, want: NaN };
  for (let i = 0; i < values.length; i++) {
    const [a, b] = [got[i]!, values[i]!];
    if (Object.is(a, b)) continue;
    const difference = Math.abs(a - b);
    const share = difference / (tolerance.atol + tolerance.rtol * Math.abs(b));
    if (share <= worst.share) continue;
    const wrong = Number.isNaN(share);
    worst = {
      share: wrong ? Infinity : share,
      difference: wrong ? Infinity : difference,
      at: i,
      got: a,
      want: b,
    };
    if (wrong) break;
  }
  if (got.length === values.length) return worst;
  return {
    share: Infinity,
    difference: Infinity,
    at: Math.min(got.length, values.length),
    got: NaN,
    want: NaN,
  };
}

/** Devices that run a case by a named choice: one for each, since kernels are cached by op and arguments. */
export function chosen(device: Device, { test, id }: ChosenCase): Device {
  if (id === undefined) return device;
  return choosing(device, (all, op) =>
    op.kind === test.op.kind ? [all.find((c) => c.id === id) ?? { id }] : all,
  );
}

/** Ids of all choices for a case. */
export function idsOf({ op, inputs }: KernelCase, device: Device): string[] {
  return device.backend.choices(op, argsOf({ op, inputs }, device)).map((c) => c.id);
}

function argsOf({ op, inputs }: Pick<KernelCase, 'op' | 'inputs'>, device: Device): ArgSpec[] {
  using memory = new Scope();
  const specs = memory
    .run(() => inputs.map((x, i) => buildInput(x, i, device).spec))
    .map(({ dtype, layout }) => ({ dtype, layout: { ...layout, offset: 0 } }));
  return [...specs, definitionOf(op).infer(op, specs)];
}

/** Choices whose preparation is work of a library, not a text to compile. */
const isLibrary = (id: string | undefined): boolean => id === undefined || /^cu(dnn|blaslt)(-|$)/.test(id);

/**
 * Compiles all texts of these cases together, on worker threads; what does not compile says so when its case runs.
 * Libraries' choices and cases without a choice are left to their run.
 */
export async function compileCases(cases: readonly ChosenCase[], device: Device): Promise<void> {
  const work = cases.filter((c) => !isLibrary(c.id));
  try {
    await compileAhead(device, () => {
      for (const c of work)
        try {
          const backend = chosen(device, c).backend;
          const args = argsOf(c.test, device);
          backend.prepare(c.test.op, args, { id: c.id! });
        } catch {
          // The case's own run tells.
        }
    });
  } catch {
    // As above.
  }
}
