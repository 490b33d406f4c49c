// Compiling ahead: a function runs once with a recorder that computes nothing and prepares every kernel it would run;
// the device then compiles them all together, which a GPU driver does in parallel and off the main thread.

import type { Device } from '../device.ts';
import { resolveAbstract } from '../dispatch.ts';
import { withRecorder } from '../recorder.ts';
import { Scope } from '../scope.ts';
import { anyDefinitionOf } from '../ops/table.ts';
import type { AnyOp } from '../op.ts';
import type { Tensor } from '../tensor.ts';

/**
 * Prepares the kernels that `body` would run on `device`, given abstract tensors (Tensor.abstract) in place of those
 * that do not exist yet. Resolves when the kernels are compiled. Nothing is computed and nothing allocated for results.
 * @throws what the ops of `body` throw for bad shapes, and DeviceError when a kernel does not compile.
 */
export async function compileAhead(device: Device, body: () => void): Promise<void> {
  using memory = new Scope();
  memory.run(() =>
    withRecorder(
      {
        op(op: AnyOp, inputs: readonly Tensor[]) {
          resolveAbstract(anyDefinitionOf(op), op, inputs, device);
        },
        view: () => {},
      },
      body,
    ),
  );
  await device.backend.ready?.();
}
