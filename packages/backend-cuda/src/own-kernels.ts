// Our own kernels: the GPU texts compiled by NVRTC. Every launch is one call with an argument block that was laid out
// when the kernel was prepared.

import { DeviceError } from '@darkroom/core';
import type { AnyOp, ArgSpec, Choice } from '@darkroom/core/backend';
import { fillParams, gridOf, startsAtUnits } from '@darkroom/gpu-kernels';
import type { KernelDispatch } from '@darkroom/gpu-kernels';
import type { CompiledKernel, Compiler } from './compiler.ts';
import { factoryOf } from './kernels/index.ts';
import { launch } from './node/addon.ts';
import type { Driver, Stream } from './node/native.ts';
import type { Prepared } from './provider.ts';
import type { CudaTraits } from './traits.ts';

/** One launch: `block` holds the buffers' addresses, then the parameters. */
interface Launch {
  readonly dispatch: KernelDispatch;
  readonly kernel: CompiledKernel;
  readonly block: ArrayBuffer;
  readonly words: Uint32Array;
}

export interface OwnKernelsSource {
  readonly driver: Driver;
  readonly compiler: Compiler;
  readonly traits: CudaTraits;
}

export class OwnKernels {
  readonly #source: OwnKernelsSource;

  constructor(source: OwnKernelsSource) {
    this.#source = source;
  }

  choices(op: AnyOp, args: readonly ArgSpec[]): readonly Choice[] {
    const ids = factoryOf(op)?.choices(op, args, this.#source.traits) ?? [];
    return ids.map((id) => ({ id }));
  }

  /** Prepares a kernel. `wide`: for arguments whose slices start at whole quads; else for any. */
  prepare(op: AnyOp, args: readonly ArgSpec[], choice: Choice, wide: boolean): Prepared {
    const factory = factoryOf(op);
    if (!factory) throw new DeviceError(`cuda: ${op.kind} has no kernel here`);
    const { driver, compiler, traits } = this.#source;
    const { dispatches, scratch = [] } = factory.prepare(op, args, choice.id, traits, wide);
    const launches = dispatches.map((dispatch): Launch => {
      const pointers = dispatch.bindings.length * 8;
      const block = new ArrayBuffer(Math.ceil((pointers + dispatch.params.byteLength) / 8) * 8);
      return { dispatch, kernel: compiler.of(dispatch.text), block, words: new Uint32Array(block) };
    });
    return new OwnKernel(driver, compiler, launches, scratch, args.length);
  }
}

class OwnKernel implements Prepared {
  readonly scratch: readonly number[];
  readonly #driver: Driver;
  readonly #compiler: Compiler;
  readonly #launches: readonly Launch[];
  readonly #args: number;

  constructor(
    driver: Driver,
    compiler: Compiler,
    launches: readonly Launch[],
    scratch: readonly number[],
    args: number,
  ) {
    this.#driver = driver;
    this.#compiler = compiler;
    this.#launches = launches;
    this.scratch = scratch;
    this.#args = args;
  }

  fits(addresses: readonly number[]): boolean {
    const startOf = (arg: number): number => addresses[arg]!;
    for (const { dispatch } of this.#launches)
      if (!startsAtUnits(dispatch, this.#args, startOf)) return false;
    return true;
  }

  run(addresses: readonly number[], scalars: readonly number[], stream: Stream): number {
    let count = 0;
    for (const one of this.#launches) {
      if (one.dispatch.groups === 0) continue;
      this.#launch(one, addresses, scalars, stream);
      count++;
    }
    return count;
  }

  #launch(
    { dispatch, kernel, block, words }: Launch,
    addresses: readonly number[],
    scalars: readonly number[],
    stream: Stream,
  ): void {
    const { bindings, text } = dispatch;
    for (let i = 0; i < bindings.length; i++) {
      const address = addresses[bindings[i]!.arg]!;
      words[2 * i] = address >>> 0;
      words[2 * i + 1] = Math.floor(address / 2 ** 32);
    }
    fillParams(dispatch, words, 2 * bindings.length, () => 0, scalars);
    const fn = this.#compiler.load(kernel);
    const { x, y } = gridOf(dispatch.groups);
    launch(this.#driver, kernel.label, fn, [x, y, 1], [text.threads, 1, 1], text.poolBytes, stream, block);
  }
}
