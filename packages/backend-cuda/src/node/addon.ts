// The only file that knows the addon: loads it, opens libraries through it, words its errors, and says in one line what
// is missing on a machine that has no compiler, no driver or no library.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { DeviceError, OutOfMemoryError } from '@darkroom/core';
import { cudnnStatus } from './cudnn.ts';
import { builtinsOf, candidates, libraryNames, nativeFolder } from './libraries.ts';
import type { LibraryName, SearchOptions } from './libraries.ts';
import type {
  CublasLt,
  CudaFunction,
  Cudnn,
  Driver,
  NativeAddon,
  NativeError,
  Nvrtc,
  Stream,
} from './native.ts';

export type { NativeAddon as Addon } from './native.ts';

/** A library that was opened, or every place that was searched with the loader's reason. */
export type LibraryReport =
  | { readonly found: true; readonly path: string; readonly from: string }
  | { readonly found: false; readonly looked: readonly string[] };

/** The parts of CUDA on this machine, and the places that were searched. */
export interface Diagnosis {
  /** The addon's path, or the reason why it is missing. */
  readonly addon: { readonly path: string } | { readonly missing: string };
  readonly libraries: Readonly<Record<LibraryName, LibraryReport>>;
}

/** The open libraries: driver and compiler; cuBLASLt and cuDNN are undefined where they were not found. */
export interface Cuda {
  readonly driver: Driver;
  readonly nvrtc: Nvrtc;
  readonly cublasLt: CublasLt | undefined;
  readonly cudnn: Cudnn | undefined;
  readonly emulated: boolean;
  readonly libraries: Readonly<Record<LibraryName, LibraryReport>>;
}

const addonPath = (): string =>
  process.env['DARKROOM_CUDA_ADDON'] || join(nativeFolder(), 'darkroom_cuda.node');

let loaded: NativeAddon | undefined;
/** @throws DeviceError when there is no addon, saying how to build one. */
export function loadAddon(): NativeAddon {
  const path = addonPath();
  if (!loaded && !existsSync(path)) {
    const build = join(nativeFolder(), '..', '..', '..', 'native', 'build.mjs');
    throw new DeviceError(
      process.platform === 'linux'
        ? `cuda: the native addon is not built: install a C++17 compiler and cmake, then run: node ${build}`
        : `cuda: the CUDA backend runs on Linux (and WSL) only, this is ${process.platform}`,
    );
  }
  try {
    loaded ??= createRequire(import.meta.url)(path) as NativeAddon;
  } catch (error) {
    throw new DeviceError(`cuda: ${path} does not load: ${(error as Error).message}`);
  }
  return loaded;
}

/** True when DARKROOM_CUDA=emulator or the option asks for the CPU emulator. */
export function isEmulated(options: SearchOptions): boolean {
  return options.emulator ?? (options.env ?? process.env)['DARKROOM_CUDA'] === 'emulator';
}

/**
 * Opens all libraries and starts the driver.
 * @throws DeviceError in one line when the addon, the driver, a GPU or NVRTC is missing.
 */
export function openCuda(options: SearchOptions = {}): Cuda {
  const addon = loadAddon();
  const emulated = isEmulated(options);
  const search = { ...options, emulator: emulated };
  const cuda = openLibrary(addon, 'cuda', search);
  if (!cuda.found) throw new DeviceError(explain('cuda', cuda));
  labelled('open', () => addon.driver.init());
  if (labelled('open', () => addon.driver.deviceCount()) === 0)
    throw new DeviceError('cuda: the driver is installed but shows no GPU');
  const driverMajor = Math.floor(labelled('open', () => addon.driver.version()) / 1000);
  const open = (name: LibraryName) => openLibrary(addon, name, { driverMajor, ...search });
  const nvrtc = open('nvrtc');
  if (!nvrtc.found) throw new DeviceError(explain('nvrtc', nvrtc));
  const libraries = { cuda, nvrtc, cublasLt: open('cublasLt'), cudnn: open('cudnn') };
  return {
    driver: addon.driver,
    nvrtc: addon.nvrtc,
    cublasLt: libraries.cublasLt.found ? addon.cublasLt : undefined,
    cudnn: libraries.cudnn.found ? addon.cudnn : undefined,
    emulated,
    libraries,
  };
}

/** Finds the parts of CUDA on this machine, without starting the driver. Never throws. */
export function diagnose(options: SearchOptions = {}): Diagnosis {
  const search = { ...options, emulator: isEmulated(options) };
  const report = (open: (name: LibraryName) => LibraryReport): Diagnosis['libraries'] =>
    Object.fromEntries(libraryNames.map((n) => [n, open(n)])) as Record<LibraryName, LibraryReport>;
  try {
    const addon = loadAddon();
    return { addon: { path: addonPath() }, libraries: report((name) => openLibrary(addon, name, search)) };
  } catch (error) {
    const looked = ['not looked for: the addon is missing'];
    const missing = (error as Error).message;
    return { addon: { missing }, libraries: report(() => ({ found: false, looked })) };
  }
}

/** Tries the candidates in order. A library stays open: asked again, the addon gives the first one's path. */
function openLibrary(addon: NativeAddon, name: LibraryName, options: SearchOptions): LibraryReport {
  const looked: string[] = [];
  for (const { path, from } of candidates(name, options)) {
    try {
      return { found: true, path: openAt(addon, name, path), from };
    } catch (error) {
      looked.push(`${path} (${from}): ${(error as NativeError).text ?? (error as Error).message}`);
    }
  }
  if (looked.length === 0) looked.push(options.emulator ? 'the emulator has none' : 'nowhere');
  return { found: false, looked };
}

function openAt(addon: NativeAddon, name: LibraryName, path: string): string {
  switch (name) {
    case 'cuda':
      return addon.driver.open(path);
    case 'nvrtc':
      return addon.nvrtc.open(path, builtinsOf(path));
    case 'cublasLt':
      return addon.cublasLt.open(path);
    case 'cudnn':
      return addon.cudnn.open(path);
  }
}

const advice: Readonly<Record<LibraryName, string>> = {
  cuda: "no NVIDIA driver: install it, or start the container with its GPUs ('--gpus all')",
  nvrtc: "no NVRTC: run 'python3 -m pip install nvidia-cuda-nvrtc', or set DARKROOM_LIBNVRTC or CUDA_HOME",
  cublasLt:
    "no cuBLASLt: run 'python3 -m pip install nvidia-cublas', or set DARKROOM_LIBCUBLASLT or CUDA_HOME",
  cudnn: "no cuDNN: run 'python3 -m pip install nvidia-cudnn-cu13', or set DARKROOM_LIBCUDNN or CUDA_HOME",
};
/** One line: what is missing, what to do, where it was looked for. */
export function explain(name: LibraryName, report: LibraryReport): string {
  return report.found ? `cuda: ${report.path}` : `cuda: ${advice[name]} (tried ${report.looked.join('; ')})`;
}

/** Runs native calls on behalf of `label` (an op, a kernel), which stands in front of their errors. */
export function labelled<T>(label: string, calls: () => T): T {
  try {
    return calls();
  } catch (error) {
    throw wordError(error, label);
  }
}

/** True if a native error says that memory ran out. */
export function isOutOfMemory(error: unknown): boolean {
  if (!(error instanceof Error) || !('library' in error)) return false;
  const { library, code } = error as NativeError;
  return (
    (library === 'libcuda' && code === 2) ||
    (library === 'libcublasLt' && code === 3) ||
    (library === 'libcudnn' && code === cudnnStatus.deviceAllocationFailed)
  );
}

/** A native error as one of ours; others pass as they are. */
export function wordError(error: unknown, label: string): unknown {
  if (!(error instanceof Error) || !('library' in error)) return error;
  const text = `cuda: ${label}: ${error.message}`;
  return isOutOfMemory(error) ? new OutOfMemoryError(text) : new DeviceError(text);
}

export type Size3 = readonly [number, number, number];
/** The hot call, with the kernel's label in its error. Without a closure, because it runs a thousand times a step. */
export function launch(
  driver: Driver,
  label: string,
  kernel: CudaFunction,
  grid: Size3,
  block: Size3,
  sharedBytes: number,
  stream: Stream,
  values: ArrayBuffer,
): void {
  try {
    driver.launch(
      kernel,
      grid[0],
      grid[1],
      grid[2],
      block[0],
      block[1],
      block[2],
      sharedBytes,
      stream,
      values,
    );
  } catch (error) {
    throw wordError(error, label);
  }
}

/** Compiles a kernel's text to a cubin. @throws DeviceError with NVRTC's log, whose lines are the text's. */
export function compile(nvrtc: Nvrtc, label: string, source: string, options: readonly string[]): Uint8Array {
  return cubinOf(
    label,
    labelled(label, () => nvrtc.compile(source, `${label}.cu`, options)),
  );
}
/** As compile, on a worker thread. */
export async function compileAsync(
  nvrtc: Nvrtc,
  label: string,
  source: string,
  options: readonly string[],
): Promise<Uint8Array> {
  try {
    return cubinOf(label, await nvrtc.compileAsync(source, `${label}.cu`, options));
  } catch (error) {
    throw wordError(error, label);
  }
}
function cubinOf(label: string, { cubin, log }: ReturnType<Nvrtc['compile']>): Uint8Array {
  if (cubin) return cubin;
  throw new DeviceError(`cuda: ${label}: the kernel does not compile:\n${log}`);
}
