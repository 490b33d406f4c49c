// One kernel case: an op on inputs. Run on a device it is compared with the oracle, and eager with traced.

import type { Device } from '../device.ts';
import { dispatchAll } from '../dispatch.ts';
import { runGraph } from '../graph/run.ts';
import { recordGraph } from '../graph/record.ts';
import type { DType } from '../dtype.ts';
import type { AnyOp, Spec } from '../op.ts';
import { anyDefinitionOf } from '../ops/table.ts';
import type { KernelOp } from '../ops/table.ts';
import { Scope } from '../scope.ts';
import type { Tensor } from '../tensor.ts';
import { buildInput } from './inputs.ts';
import type { InputSpec } from './inputs.ts';
import { firstMismatch } from './tolerance.ts';
import type { Tolerance } from './tolerance.ts';

/** An op on inputs of these kinds. */
export interface KernelCase<O extends AnyOp = KernelOp> {
  readonly name: string;
  readonly op: O;
  readonly inputs: readonly InputSpec[];
  /** Only where the general one of the op does not fit, with a reason beside it. */
  readonly tolerance?: Tolerance;
}

/** By how much a fast kernel of `op` may differ from the reference kernel, for inputs about 1. */
export function kernelTolerance(op: AnyOp, inputs: readonly Spec[], output: DType): Tolerance {
  return anyDefinitionOf(op).tolerance(op, inputs, output);
}

interface Ran {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

function run(test: KernelCase<AnyOp>, device: Device, seed: number): Ran {
  const inputs = test.inputs.map((spec, i) => buildInput(spec, seed * 31 + i, device));
  return { inputs, outputs: dispatchAll(anyDefinitionOf(test.op), test.op, inputs, { device }) };
}

/** Throws when `device` differs from `oracle`, or a trace of the op from the op. */
export async function checkKernelCase(
  test: KernelCase<AnyOp>,
  device: Device,
  oracle: Device,
  seed = 1,
): Promise<void> {
  const memory = new Scope();
  try {
    const got = memory.run(() => run(test, device, seed));
    const want = memory.run(() => run(test, oracle, seed));
    for (const [i, output] of got.outputs.entries()) {
      const [a, b] = [await output.data(), await want.outputs[i]!.data()];
      // Inputs are chosen so that results are finite: a NaN on both sides would hide a bug.
      if (!b.every(Number.isFinite)) throw new Error(`${test.name}: the oracle's result is not finite`);
      const specs = got.inputs.map((x) => x.spec);
      const tolerance = test.tolerance ?? kernelTolerance(test.op, specs, output.dtype);
      const at = firstMismatch(a, b, tolerance);
      if (at >= 0) {
        throw new Error(
          `${test.name}: element ${at} of ${output.toString()} is ${a[at]}, the oracle has ${b[at]} ` +
            `(atol ${tolerance.atol}, rtol ${tolerance.rtol}); op ${JSON.stringify(test.op)} on ${JSON.stringify(test.inputs)}`,
        );
      }
    }
    await checkTraced(test, device, got, memory);
  } finally {
    memory.dispose();
  }
}

async function checkTraced(
  test: KernelCase<AnyOp>,
  device: Device,
  { inputs, outputs }: Ran,
  memory: Scope,
): Promise<void> {
  // A traced input is dense; views stay views of a dense base, so only dense inputs replay the same kernel.
  const dense = inputs.every((x) => x.memoryFormat !== 'strided');
  if (!dense) return;
  const named = Object.fromEntries(inputs.map((x, i) => [`x${i}`, x]));
  const name = (i: number): string => `output${i}`;
  const { graph } = recordGraph((t) => {
    const args = inputs.map((_, i) => t[`x${i}`]!);
    const traced = dispatchAll(anyDefinitionOf(test.op), test.op, args, { device });
    return Object.fromEntries(traced.map((y, i) => [name(i), y]));
  }, named);
  const replayed = memory.run(() => runGraph(graph, named, { device }));
  for (const [i, eager] of outputs.entries()) {
    const got = await replayed[name(i)]!.data();
    const at = firstMismatch(got, await eager.data(), { atol: 0, rtol: 0 });
    if (at >= 0) throw new Error(`${test.name}: traced differs from eager at element ${at}`);
  }
}
