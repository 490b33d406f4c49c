// cuda(): the device that users open.

import { Device } from '@darkroom/core';
import type { DeviceOptions } from '@darkroom/core';
import { cacheFolder, fileTuneStore } from '@darkroom/core/node';
import { CudaBackend } from './backend.ts';
import { Compiler } from './compiler.ts';
import { FaultLog } from './fault-log.ts';
import { librariesOf, libraryVersions, namesOf, restrictedTo } from './libraries/index.ts';
import type { LibraryNames } from './libraries/index.ts';
import { labelled, openCuda } from './node/addon.ts';
import type { Cuda } from './node/addon.ts';
import { cubinFiles } from './node/cubin-files.ts';
import type { SearchOptions } from './node/libraries.ts';
import { deviceMemory } from './node/memory.ts';
import { deviceAttribute } from './node/native.ts';
import { OwnKernels } from './own-kernels.ts';
import { traitsOf } from './traits.ts';

/** Options of cuda(). */
export interface CudaOptions extends SearchOptions, DeviceOptions {
  /** The driver's index of the GPU; default 0. */
  readonly index?: number;
  /**
   * Folder of compiled kernels and, unless `tuneStore` is given, of tuning results; false keeps none. Default:
   * darkroom/cuda in DARKROOM_CACHE, XDG_CACHE_HOME or ~/.cache.
   */
  readonly cache?: string | false;
  /**
   * Cut buffers from large regions. Default: on a GPU; the emulator gives each its own pages, to see what reaches past
   * them.
   */
  readonly suballocate?: boolean;
  /**
   * NVIDIA's libraries that may run ops beside our own kernels. Default: DARKROOM_CUDA_LIBRARIES (all, none, cublasLt,
   * cudnn), else all.
   */
  readonly libraries?: LibraryNames;
}

/**
 * Opens an NVIDIA GPU. Each call is a device of its own, on the driver's one context of that GPU.
 * @throws DeviceError in one line when the addon, the driver, a GPU or NVRTC is missing, ArgumentError for a library that
 * is none.
 */
export async function cuda(options: CudaOptions = {}): Promise<Device> {
  const device = openDevice(openCuda(options), options);
  await device.tuner.load();
  return device;
}

/** A device on libraries that are open already; stored tuning results are not loaded. @throws as cuda. */
export function openDevice(found: Cuda, options: CudaOptions = {}): Device {
  const { index = 0, cache = cacheFolder('cuda'), suballocate } = options;
  const opened = restrictedTo(found, namesOf(options.libraries, options.env));
  const { driver, nvrtc } = opened;
  return labelled('open', () => {
    const attribute = (id: number): number => driver.deviceAttribute(index, id);
    const context = driver.contextRetain(index);
    const use = (): void => driver.contextUse(context);
    use();
    const stream = driver.streamCreate(0);
    const architecture =
      10 * attribute(deviceAttribute.computeMajor) + attribute(deviceAttribute.computeMinor);
    const versions = `driver ${driver.version()}, NVRTC ${nvrtc.version()}`;
    const name = `${driver.deviceName(index)}, sm_${architecture}`;
    const fingerprint = [
      name,
      versions,
      ...libraryVersions(opened),
      ...(opened.emulated ? ['emulated'] : []),
    ].join(', ');
    const traits = traitsOf({
      architecture,
      sharedBytes: attribute(deviceAttribute.sharedBytesPerBlock),
      mostSharedBytes: attribute(deviceAttribute.sharedBytesPerBlockOptIn),
      processors: attribute(deviceAttribute.multiprocessors),
      threads: attribute(deviceAttribute.maxThreadsPerBlock),
      emulated: opened.emulated,
    });
    const store = cache === false ? undefined : cubinFiles(cache);
    const compiler = new Compiler(opened, `sm_${architecture}`, versions, store);
    const faults = new FaultLog();
    const plansMade = { built: 0, restored: 0, ms: 0 };
    const plans =
      cache === false
        ? undefined
        : { store: cubinFiles(cache, 'plan'), device: `${name}, driver ${driver.version()}` };
    const own = new OwnKernels({ driver, compiler, traits });
    const backend = new CudaBackend({
      cuda: opened,
      compiler,
      traits,
      own,
      stream,
      memory: deviceMemory(driver, index),
      suballocate: suballocate ?? !opened.emulated,
      libraries: librariesOf(opened, faults, { files: plans, counts: plansMade, own }),
      faults,
      plans: plansMade,
      use,
      fingerprint,
      totalBytes: driver.deviceBytes(index),
      close: () => {
        compiler.dispose();
        driver.streamDestroy(stream);
        driver.contextRelease(index);
      },
    });
    return new Device(backend, cache === false ? options : { tuneStore: fileTuneStore(cache), ...options });
  });
}
