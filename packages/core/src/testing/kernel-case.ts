// One kernel case: an op on inputs. Run on a device it is compared with the oracle, and eager with traced.

import type { Device } from '../device.ts';
import { dispatch } from '../dispatch.ts';
import { runGraph } from '../graph/run.ts';
import { recordGraph } from '../graph/record.ts';
import type { KernelOp } from '../op.ts';
import { definitionOf } from '../ops/table.ts';
import { Scope } from '../scope.ts';
import type { Tensor } from '../tensor.ts';
import { buildInput } from './inputs.ts';
import type { InputSpec } from './inputs.ts';
import { firstMismatch, kernelTolerance } from './tolerance.ts';
import type { Tolerance } from './tolerance.ts';

export interface KernelCase {
  readonly name: string;
  readonly op: KernelOp;
  readonly inputs: readonly InputSpec[];
  /** Only where the general one of the op does not fit, with a reason beside it. */
  readonly tolerance?: Tolerance;
}

function run(test: KernelCase, device: Device, seed: number): { inputs: Tensor[]; output: Tensor } {
  const inputs = test.inputs.map((spec, i) => buildInput(spec, seed * 31 + i, device));
  return { inputs, output: dispatch(definitionOf(test.op), test.op, inputs, { device }) };
}

/** Throws when `device` differs from `oracle`, or a trace of the op from the op. */
export async function checkKernelCase(
  test: KernelCase,
  device: Device,
  oracle: Device,
  seed = 1,
): Promise<void> {
  const memory = new Scope();
  try {
    const got = memory.run(() => run(test, device, seed));
    const want = memory.run(() => run(test, oracle, seed));
    const [a, b] = [await got.output.data(), await want.output.data()];
    // Inputs are chosen so that results are finite: a NaN on both sides would hide a bug.
    if (!b.every(Number.isFinite)) throw new Error(`${test.name}: the oracle's result is not finite`);
    const tolerance =
      test.tolerance ??
      kernelTolerance(
        test.op,
        got.inputs.map((x) => x.spec),
        got.output.dtype,
      );
    const at = firstMismatch(a, b, tolerance);
    if (at >= 0) {
      throw new Error(
        `${test.name}: element ${at} of ${got.output.toString()} is ${a[at]}, the oracle has ${b[at]} ` +
          `(atol ${tolerance.atol}, rtol ${tolerance.rtol}); op ${JSON.stringify(test.op)} on ${JSON.stringify(test.inputs)}`,
      );
    }
    await checkTraced(test, device, got.inputs, a, memory);
  } finally {
    memory.dispose();
  }
}

async function checkTraced(
  test: KernelCase,
  device: Device,
  inputs: readonly Tensor[],
  eager: ArrayLike<number>,
  memory: Scope,
): Promise<void> {
  // A traced input is dense; views stay views of a dense base, so only dense inputs replay the same kernel.
  const dense = inputs.every((x) => x.memoryFormat !== 'strided');
  if (!dense) return;
  const named = Object.fromEntries(inputs.map((x, i) => [`x${i}`, x]));
  const { graph } = recordGraph(
    (t) =>
      dispatch(
        definitionOf(test.op),
        test.op,
        inputs.map((_, i) => t[`x${i}`]!),
        { device },
      ),
    named,
  );
  const replayed = memory.run(() => runGraph(graph, named, { device }));
  const at = firstMismatch(await replayed['output']!.data(), eager, { atol: 0, rtol: 0 });
  if (at >= 0) throw new Error(`${test.name}: traced differs from eager at element ${at}`);
}
