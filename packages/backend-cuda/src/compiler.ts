// Kernel texts → loaded functions: NVRTC compiles for this device's architecture, once for a text; cubins are kept on
// disk by what they depend on, so that a second start compiles nothing.

import type { KernelText } from '@darkroom/gpu-kernels';
import { cudaText, entryPointOf } from './text/cuda-text.ts';
import { kernelText } from './text/device.cu.ts';
import { compile, compileAsync, labelled } from './node/addon.ts';
import type { Cuda } from './node/addon.ts';
import type { CubinStore } from './node/cubin-files.ts';
import { functionAttribute } from './node/native.ts';
import { vectors } from './text/vectors.cu.ts';

/** Bytes of shared memory that a kernel may use without asking. */
const staticLimit = 48 << 10;

export interface CompiledKernel {
  readonly label: string;
  /** Shared memory sized at launch. */
  readonly poolBytes: number;
  /** The driver's handle; loaded at first use. */
  fn: number | undefined;
  cubin: Uint8Array | undefined;
  readonly source: string;
  readonly options: readonly string[];
}

/** All that NVRTC gets for a text. */
export const sourceOf = (text: KernelText): string => kernelText(vectors + cudaText(text));

/** Warnings are off: a text declares what other variants of it use. */
export const compileOptions = (architecture: string, unfused: boolean): readonly string[] => [
  `-arch=${architecture}`,
  '-std=c++17',
  '-default-device',
  '-w',
  ...(unfused ? ['-fmad=false'] : []),
];

export class Compiler {
  readonly #cuda: Cuda;
  readonly #store: CubinStore | undefined;
  readonly #architecture: string;
  readonly #fingerprint: string;
  readonly #kernels = new Map<string, CompiledKernel>();
  readonly #modules: number[] = [];

  /** `architecture` as sm_90. `fingerprint`: all that a cubin depends on beside its text. */
  constructor(cuda: Cuda, architecture: string, fingerprint: string, store: CubinStore | undefined) {
    this.#cuda = cuda;
    this.#store = store;
    this.#fingerprint = fingerprint;
    this.#architecture = architecture;
  }

  get count(): number {
    return this.#kernels.size;
  }

  /** The kernel of a text; nothing is compiled yet. */
  of(text: KernelText): CompiledKernel {
    const source = sourceOf(text);
    const key = `${text.unfused} ${text.poolBytes}\n${source}`;
    let kernel = this.#kernels.get(key);
    if (!kernel) {
      kernel = {
        label: text.label,
        poolBytes: text.poolBytes,
        fn: undefined,
        cubin: undefined,
        source,
        options: compileOptions(this.#architecture, text.unfused),
      };
      this.#kernels.set(key, kernel);
    }
    return kernel;
  }

  /** The driver's handle of a kernel, compiled and loaded now if it was not. @throws DeviceError with NVRTC's log. */
  load(kernel: CompiledKernel): number {
    if (kernel.fn !== undefined) return kernel.fn;
    const { driver, nvrtc } = this.#cuda;
    kernel.cubin ??= this.#store?.load(this.#key(kernel));
    if (!kernel.cubin) this.#keep(kernel, compile(nvrtc, kernel.label, kernel.source, kernel.options));
    const cubin = kernel.cubin!;
    const module = labelled(kernel.label, () => driver.moduleLoad(cubin));
    this.#modules.push(module);
    kernel.cubin = undefined;
    return (kernel.fn = labelled(kernel.label, () => {
      const fn = driver.moduleFunction(module, entryPointOf(kernel.label));
      if (kernel.poolBytes > staticLimit)
        driver.functionSet(fn, functionAttribute.maxDynamicSharedBytes, kernel.poolBytes);
      return fn;
    }));
  }

  /** Compiles all that was asked for and is not loaded, on worker threads. */
  async ready(): Promise<void> {
    const waiting = [...this.#kernels.values()].filter((k) => k.fn === undefined && k.cubin === undefined);
    await Promise.all(
      waiting.map(async (kernel) => {
        kernel.cubin = this.#store?.load(this.#key(kernel));
        if (kernel.cubin) return;
        this.#keep(kernel, await compileAsync(this.#cuda.nvrtc, kernel.label, kernel.source, kernel.options));
      }),
    );
  }

  #keep(kernel: CompiledKernel, cubin: Uint8Array): void {
    kernel.cubin = cubin;
    this.#store?.save(this.#key(kernel), cubin);
  }

  #key(kernel: CompiledKernel): string {
    return `${this.#fingerprint}\n${kernel.options.join(' ')}\n${kernel.source}`;
  }

  dispose(): void {
    for (const module of this.#modules) this.#cuda.driver.moduleUnload(module);
    this.#modules.length = 0;
    this.#kernels.clear();
  }
}
