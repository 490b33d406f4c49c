// A driver without a GPU: it gives addresses, compiles with the real NVRTC for the GPU that it describes, counts launches
// and computes nothing; reads give zeros. It says what a program would launch, and fills a cache with cubins for a
// machine that is at hand for minutes only.

import { DeviceError } from '@darkroom/core';
import { diagnose, explain, loadAddon } from './addon.ts';
import type { Cuda } from './addon.ts';
import type { SearchOptions } from './libraries.ts';
import { deviceAttribute } from './native.ts';
import type { Bytes, Driver, Nvrtc } from './native.ts';

/** The GPU that a stand-in describes. */
export interface DescribedGpu {
  readonly name: string;
  /** Compute capability as 90 for sm_90. */
  readonly architecture: number;
  readonly multiprocessors: number;
  /** Bytes of device memory. */
  readonly bytes: number;
  /** Bytes of shared memory that a block may ask for. */
  readonly mostSharedBytes: number;
  /** The driver's version, 13000 for CUDA 13.0. */
  readonly driverVersion: number;
}

/** NVIDIA H100 SXM with CUDA 13.0's driver (data sheet, CUDA programming guide). */
export const h100: DescribedGpu = {
  name: 'NVIDIA H100 80GB HBM3',
  architecture: 90,
  multiprocessors: 132,
  bytes: 80 * 2 ** 30,
  mostSharedBytes: 227 << 10,
  driverVersion: 13000,
};

/** A stand-in's driver, and what it was asked for so far. */
export interface StandIn {
  readonly cuda: Cuda;
  /** Kernels launched, graphs' launches included. */
  launches: number;
  /** Kernels in the graph captured last. */
  captured: number;
}

const attributesOf = (gpu: DescribedGpu): Readonly<Record<number, number>> => ({
  [deviceAttribute.computeMajor]: Math.floor(gpu.architecture / 10),
  [deviceAttribute.computeMinor]: gpu.architecture % 10,
  [deviceAttribute.sharedBytesPerBlock]: 48 << 10,
  [deviceAttribute.sharedBytesPerBlockOptIn]: gpu.mostSharedBytes,
  [deviceAttribute.multiprocessors]: gpu.multiprocessors,
  [deviceAttribute.maxThreadsPerBlock]: 1024,
  [deviceAttribute.warpSize]: 32,
});

/** `nvrtc`: a real compiler, or one that gives empty cubins where only launches are counted. */
export function standInCuda(nvrtc: Nvrtc, gpu: DescribedGpu = h100): StandIn {
  let next = 2 ** 32;
  const address = (): number => (next += 2 ** 20);
  const hostAddresses = new WeakMap<ArrayBufferLike, number>();
  const attributes = attributesOf(gpu);
  const graphs = new Map<number, number>();
  let capturedFrom: number | undefined;
  const alloc = (bytes: number): number => {
    const at = next;
    next += Math.ceil((bytes + 1) / 2 ** 21) * 2 ** 21;
    return at;
  };
  const nothing = (): void => {};
  const driver: Driver = {
    open: (path) => path,
    init: nothing,
    version: () => gpu.driverVersion,
    deviceCount: () => 1,
    deviceName: () => gpu.name,
    deviceAttribute: (_, attribute) => attributes[attribute] ?? 0,
    deviceBytes: () => gpu.bytes,
    contextRetain: address,
    contextRelease: nothing,
    contextUse: nothing,
    contextSynchronize: nothing,
    memoryInfo: () => ({ free: gpu.bytes, total: gpu.bytes }),
    alloc,
    free: nothing,
    allocAsync: alloc,
    freeAsync: nothing,
    poolSet: nothing,
    poolGet: () => 0,
    poolTrim: nothing,
    hostAlloc: (bytes) => new ArrayBuffer(bytes),
    hostFree: nothing,
    hostAddress: (bytes: Bytes) => {
      const buffer = 'buffer' in bytes ? bytes.buffer : bytes;
      const at = hostAddresses.get(buffer) ?? address();
      hostAddresses.set(buffer, at);
      return at + ('byteOffset' in bytes ? bytes.byteOffset : 0);
    },
    copyToDevice: nothing,
    copyToHost: nothing,
    copyOnDevice: nothing,
    fillBytes: nothing,
    fillWords: nothing,
    streamCreate: address,
    streamDestroy: nothing,
    streamSynchronize: nothing,
    streamReady: () => true,
    streamWait: nothing,
    eventCreate: address,
    eventDestroy: nothing,
    eventRecord: nothing,
    eventReady: () => true,
    eventSynchronize: nothing,
    eventWait: () => Promise.resolve(),
    eventElapsed: () => 1,
    moduleLoad: address,
    moduleUnload: nothing,
    moduleFunction: address,
    functionSet: nothing,
    functionGet: () => 0,
    functionBlocks: () => 1,
    launch: () => void standIn.launches++,
    captureBegin: () => void (capturedFrom = standIn.launches),
    captureEnd: () => {
      const graph = address();
      standIn.captured = standIn.launches - (capturedFrom ?? standIn.launches);
      standIn.launches -= standIn.captured; // recorded, not run
      capturedFrom = undefined;
      graphs.set(graph, standIn.captured);
      return graph;
    },
    graphInstantiate: (graph) => {
      const instance = address();
      graphs.set(instance, graphs.get(graph) ?? 0);
      return instance;
    },
    graphLaunch: (instance) => void (standIn.launches += graphs.get(instance) ?? 0),
    graphDestroy: (graph) => void graphs.delete(graph),
    instanceDestroy: (instance) => void graphs.delete(instance),
  };
  const found = { found: true, path: 'a stand-in', from: 'a stand-in' } as const;
  const missing = { found: false, looked: ['a stand-in has none'] } as const;
  const libraries = { cuda: found, nvrtc: found, cublasLt: missing, cudnn: missing };
  const standIn: StandIn = {
    cuda: { driver, nvrtc, cublasLt: undefined, cudnn: undefined, emulated: false, libraries },
    launches: 0,
    captured: 0,
  };
  return standIn;
}

/**
 * The real NVRTC, without a driver.
 * @throws DeviceError in one line when the addon or NVRTC is missing
 */
export function realNvrtc(options: SearchOptions = {}): Nvrtc {
  const { addon, libraries } = diagnose({ ...options, emulator: false });
  if ('missing' in addon) throw new DeviceError(addon.missing);
  if (!libraries.nvrtc.found) throw new DeviceError(explain('nvrtc', libraries.nvrtc));
  return loadAddon().nvrtc;
}
