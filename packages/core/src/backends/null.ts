// The NULL backend: a real backend that computes nothing. It logs which kernels would run and accounts memory, so
// that shape rules, recording, tuning and memory behaviour are tested without a device. Reading from it is an error.

import '../dispose-symbol.ts';
import type { ArgSpec, Backend, Buffer, Caps, Choice, Kernel, Queue, Slice } from '../backend.ts';
import { DeviceError, OutOfMemoryError } from '../errors.ts';
import type { AnyOp } from '../op.ts';

/** A backend that logs what it is asked to do. */
export interface NullBackend extends Backend {
  /** Labels of the kernels run so far. */
  readonly runs: readonly string[];
  /** Bytes allocated now. */
  readonly allocated: number;
}

/** `choices` replaces the one choice per op; `maxBytes` limits memory. */
export function nullBackend(
  options: {
    choices?(op: AnyOp, args: readonly ArgSpec[]): readonly Choice[];
    maxBytes?: number;
    poolBuffers?: boolean;
  } = {},
): NullBackend {
  const runs: string[] = [];
  let allocated = 0;
  const live = new Set<Buffer>();
  const caps: Caps = {
    convFormat: 'contiguous',
    rewrites: [],
    suballocate: true,
    poolBuffers: options.poolBuffers ?? true,
    pinned: false,
    syncRead: false,
    maxBufferBytes: options.maxBytes ?? Number.MAX_SAFE_INTEGER,
    maxBindings: 64,
    fingerprint: 'null',
  };
  return {
    name: 'null',
    caps,
    runs,
    get allocated() {
      return allocated;
    },
    alloc(bytes) {
      if (allocated + bytes > caps.maxBufferBytes) {
        throw new OutOfMemoryError(`null: ${bytes} bytes asked for, ${caps.maxBufferBytes - allocated} left`);
      }
      allocated += bytes;
      const buffer: Buffer = { bytes };
      live.add(buffer);
      return buffer;
    },
    free(buffer) {
      if (!live.delete(buffer)) throw new DeviceError('null: buffer freed twice');
      allocated -= buffer.bytes;
    },
    write() {},
    copy() {},
    read: async () => {
      throw new DeviceError('null: holds no data to read');
    },
    choices: options.choices ?? (() => [{ id: 'null' }]),
    prepare: (op, _, choice): Kernel => ({ key: JSON.stringify(op), label: `${op.kind}/${choice.id}` }),
    run: (kernel: Kernel, _args: readonly Slice[], _scalars: readonly number[], _queue?: Queue) => {
      runs.push(kernel.label);
    },
    createQueue: (role): Queue => ({ role }),
    fence() {},
    flush() {},
    idle: async () => {},
    time: async (work) => {
      const start = performance.now();
      work();
      return performance.now() - start;
    },
    [Symbol.dispose]() {
      live.clear();
      allocated = 0;
    },
  };
}
