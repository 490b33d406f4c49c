// Dawn as the browser's WebGPU in this process, with what peers made for browsers miss in Node.

import { loadPeer } from './load.ts';

interface Info {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
}
export interface GpuBuffer {
  destroy(): void;
}
type WriteBuffer = (
  buffer: GpuBuffer,
  offset: number,
  data: ArrayBufferLike | ArrayBufferView,
  start?: number,
  count?: number,
) => void;
export interface GpuQueue {
  writeBuffer: WriteBuffer;
  onSubmittedWorkDone(): Promise<unknown>;
}
export interface GpuDevice {
  readonly queue: GpuQueue;
  createBuffer(descriptor: { size: number; usage: number }): GpuBuffer;
}
interface DeviceEvents {
  addEventListener(type: 'uncapturederror', listener: (event: { error: { message: string } }) => void): void;
}
type RequestDevice = (descriptor?: object) => Promise<DeviceEvents>;
export interface Gpu {
  requestAdapter(options: { powerPreference: string }): Promise<{ readonly info: Info } | null>;
}
interface Dawn {
  create(options: readonly string[]): Gpu;
  readonly globals: {
    readonly GPUQueue: { readonly prototype: { writeBuffer: WriteBuffer } };
    readonly GPUAdapter: { readonly prototype: { requestDevice: RequestDevice } };
  };
}

/** Errors of any device in this process that no one caught. */
export const gpuErrors: string[] = [];

/** Installs navigator.gpu and WebGPU's globals; resolves to the entry point and the adapter that peers will get. */
export async function installDawn(): Promise<{ gpu: Gpu; adapter: string }> {
  const { create, globals } = await loadPeer<Dawn>('webgpu');
  Object.assign(globalThis, globals);
  const gpu = create([]);
  // Node dies when Dawn's object is collected while a device lives: it stays reachable for ever. jax-js reads the user
  // agent; Node 20 has no navigator, later ones have one without gpu.
  const navigator = { userAgent: 'node', hardwareConcurrency: 1, platform: process.platform, gpu };
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
  acceptSharedMemory(globals.GPUQueue.prototype);
  collectErrors(globals.GPUAdapter.prototype);
  // As the peers ask.
  const found = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!found) throw new Error('no WebGPU adapter: is a Vulkan driver installed (VK_DRIVER_FILES)?');
  const { vendor, architecture, device, description } = found.info;
  return { gpu, adapter: [vendor, architecture, description || device].filter((s) => s).join(' ') };
}

/** onnxruntime-web uploads from its WebAssembly heap, which is shared memory; Dawn in Node refuses that: copy first. */
function acceptSharedMemory(prototype: { writeBuffer: WriteBuffer }): void {
  const { writeBuffer } = prototype;
  prototype.writeBuffer = function (this: GpuQueue, buffer, offset, data, start, count) {
    const view = ArrayBuffer.isView(data);
    const memory = view ? data.buffer : data;
    if (!(memory instanceof SharedArrayBuffer))
      return writeBuffer.call(this, buffer, offset, data, start, count);
    const unit = view && 'BYTES_PER_ELEMENT' in data ? Number(data.BYTES_PER_ELEMENT) : 1;
    const from = (view ? data.byteOffset : 0) + (start ?? 0) * unit;
    const bytes = count === undefined ? data.byteLength - (start ?? 0) * unit : count * unit;
    return writeBuffer.call(this, buffer, offset, new Uint8Array(memory, from, bytes).slice());
  };
}

function collectErrors(prototype: { requestDevice: RequestDevice }): void {
  const { requestDevice } = prototype;
  prototype.requestDevice = async function (this: object, descriptor) {
    const device = await requestDevice.call(this, descriptor);
    device.addEventListener('uncapturederror', ({ error }) => gpuErrors.push(error.message));
    return device;
  };
}
