// A device that prefers other kernels than it would: to run each of its choices, not only the one that it takes.

import type { ArgSpec, Backend, Choice } from '../backend.ts';
import { Device } from '../device.ts';
import type { AnyOp } from '../op.ts';
import { anyDefinitionOf } from '../ops/table.ts';
import { Scope } from '../scope.ts';
import { buildInput } from './inputs.ts';
import { checkKernelCase } from './kernel-case.ts';
import type { KernelCase } from './kernel-case.ts';

/** `device` with `pick` between the backend's choices for an op and the device that takes the first. */
export function choosing(
  { backend }: Device,
  pick: (choices: readonly Choice[], op: AnyOp) => readonly Choice[],
): Device {
  // Methods of a class with private fields run on the backend itself.
  const choosy = new Proxy(backend, {
    get(target, name) {
      if (name === 'choices')
        return (op: AnyOp, args: readonly ArgSpec[]) => pick(target.choices(op, args), op);
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  return new Device(choosy as Backend);
}

/**
 * Compares the result of every choice that `device` has for a case with `oracle`'s; gives the choices' ids.
 * @throws Error naming the first element that differs
 */
export async function checkEveryChoice(
  c: KernelCase,
  device: Device,
  oracle: Device,
): Promise<readonly string[]> {
  using memory = new Scope();
  const specs = memory.run(() => c.inputs.map((x, i) => buildInput(x, i, device).spec));
  const { backend } = device;
  const args = [...specs, ...[anyDefinitionOf(c.op).infer(c.op, specs)].flat()];
  const ids = backend.choices(c.op, args).map(({ id }) => id);
  for (const id of ids) {
    const one = choosing(device, (all, op) =>
      op.kind === c.op.kind ? all.filter((choice) => choice.id === id) : all,
    );
    await checkKernelCase(c, one, oracle);
  }
  return ids;
}
