// The CPU backend (interim: reference kernels only).

import { dtypeNames, Device, isFloat } from '@darkroom/core';
import type { ArgSpec, Backend, Buffer, Caps, Choice, Kernel, KernelOp, Queue, Slice } from '@darkroom/core';
import { opKey } from '@darkroom/core';
import { viewOf } from './reference/access.ts';
import { reference } from './reference/index.ts';

interface HostBuffer extends Buffer { readonly data: ArrayBuffer }
interface CpuKernel extends Kernel { run(args: readonly Slice[], scalars: readonly number[]): void }
const data = (b: Buffer): ArrayBuffer => (b as HostBuffer).data;

export function cpuBackend(): Backend {
  const caps: Caps = {
    dtypes: new Set(dtypeNames), convFormat: 'contiguous', suballocate: true, poolBuffers: false, replay: false,
    pinned: false, syncRead: true, maxBufferBytes: 2 ** 32, maxBindings: 64, peak: {}, bandwidth: 0, fingerprint: 'cpu',
  };
  const readSync = (s: Slice): Uint8Array => new Uint8Array(data(s.buffer).slice(s.offset, s.offset + s.bytes));
  return {
    name: 'cpu', caps,
    alloc: (bytes): HostBuffer => ({ bytes, data: new ArrayBuffer(bytes) }),
    free() {},
    write: (dst, src) => new Uint8Array(data(dst.buffer)).set(src, dst.offset),
    copy: (dst, src) => new Uint8Array(data(dst.buffer)).set(readSync(src), dst.offset),
    read: async (s) => readSync(s),
    readSync,
    choices: (op, args): readonly Choice[] => (op.kind === 'custom' || !args.every((a) => isFloat(a.dtype) || true) ? [] : [{ id: 'reference' }]),
    prepare: (op: KernelOp, args: readonly ArgSpec[]): CpuKernel => ({
      key: opKey(op), label: `${op.kind}/reference`,
      run: (slices, scalars) => reference(op)(op, slices.map((s, i) => viewOf(args[i]!, data(s.buffer), s.offset)), scalars),
    }),
    run: (k, args, scalars) => (k as CpuKernel).run(args, scalars),
    createQueue: (role): Queue => ({ role }), fence() {}, flush() {}, idle: async () => {},
    time: async (work) => { const t = performance.now(); work(); return performance.now() - t; },
    [Symbol.dispose]() {},
  };
}

export async function cpu(_options: { threads?: number; kernels?: "reference" } = {}): Promise<Device> {
  return new Device(cpuBackend());
}
