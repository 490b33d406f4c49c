// Launches of a plan whose weights are packed once, not at every run (simd/packing.ts). Packed copies are a cache: a
// budget bounds them, and where there is no memory for them the launches run as they would without.

import { OutOfMemoryError } from '@darkroom/core';
import type { CompiledLaunches } from '@darkroom/core/backend';
import { weightArgument } from './kernels/kernel.ts';
import type { Run } from './kernels/kernel.ts';
import type { Engine } from './simd/engine.ts';
import type { Packable, Packed } from './simd/packing.ts';

/** A launch with the addresses of its arguments. */
export interface PlacedLaunch {
  readonly kernel: Packable<Run>;
  readonly pointers: readonly number[];
  readonly scalars: readonly number[];
  readonly fixed: readonly boolean[];
}

/** The budget of one device for packed copies of weights, and the lists of launches that hold copies. */
export class PackedMemory {
  #left: number;
  readonly users: Set<PackedLaunches> = new Set<PackedLaunches>();

  /**
   * `bytes`: the budget. Default: an eighth of the memory that WebAssembly can address. Packed copies come beside the
   * weights and are wider (float32, and 16 values for 9 in Winograd's form): those of a large model would leave no room
   * to compute in.
   */
  constructor(bytes: number = 512 * 2 ** 20) {
    this.#left = bytes;
  }

  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }
  give(bytes: number): void {
    this.#left += bytes;
  }

  /** Frees all copies; launches that run again make them again. */
  drop(): void {
    for (const launches of this.users) launches.drop();
  }
}

interface Call {
  readonly run: Run;
  readonly pointers: readonly number[];
  readonly scalars: readonly number[];
}

export class PackedLaunches implements CompiledLaunches {
  readonly #engine: Engine;
  readonly #memory: PackedMemory;
  readonly #plain: readonly Call[];
  /** Weights to be packed, by launch. */
  readonly #packable: Map<number, Packed<Run>>;
  /** The launches on packed weights; undefined before packing. */
  #calls: readonly Call[] | undefined;
  #copies: number[] = [];

  constructor(engine: Engine, memory: PackedMemory, launches: readonly PlacedLaunch[]) {
    this.#engine = engine;
    this.#memory = memory;
    this.#plain = launches.map(({ kernel, pointers, scalars }) => ({ run: kernel.run, pointers, scalars }));
    const candidates = launches.flatMap(({ kernel, fixed }, i) => {
      const packed = fixed[weightArgument] ? kernel.packed?.() : undefined;
      return packed ? [[i, packed] as const] : [];
    });
    const gain = ({ saves, bytes }: Packed<Run>): number => saves / bytes;
    this.#packable = new Map(
      candidates.toSorted(([, a], [, b]) => gain(b) - gain(a)).filter(([, { bytes }]) => memory.take(bytes)),
    );
    memory.users.add(this);
  }

  /** Bytes of all copies, also of those that the next run makes. */
  get packedBytes(): number {
    return [...this.#packable.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Allocates nothing of its own but the copies, at the first run: fixed arguments hold their values then. */
  run(): void {
    this.#calls ??= this.#pack();
    for (const { run, pointers, scalars } of this.#calls) run(pointers, scalars);
  }

  #pack(): readonly Call[] {
    const calls = [...this.#plain];
    try {
      for (const [i, { bytes, pack, run }] of this.#packable) {
        const { pointers, scalars } = calls[i]!;
        const copy = this.#engine.alloc(bytes);
        this.#copies.push(copy);
        pack(pointers[weightArgument]!, copy);
        calls[i] = { run, pointers: pointers.with(weightArgument, copy), scalars };
      }
      return calls;
    } catch (error) {
      // The launches themselves need the little memory that is left, so they run without copies.
      this[Symbol.dispose]();
      if (!(error instanceof OutOfMemoryError)) throw error;
      return this.#plain;
    }
  }

  /** Frees the copies until the next run. */
  drop(): void {
    for (const copy of this.#copies) this.#engine.free(copy);
    this.#copies = [];
    this.#calls = undefined;
  }

  [Symbol.dispose](): void {
    this.drop();
    this.#memory.give(this.packedBytes);
    this.#packable.clear();
    this.#memory.users.delete(this);
  }
}
