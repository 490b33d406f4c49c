// A device that prefers other kernels than it would: to run each of its choices, not only the one that it takes.

import type { ArgSpec, Backend, Choice } from '../backend.ts';
import { Device } from '../device.ts';
import type { AnyOp } from '../op.ts';

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
