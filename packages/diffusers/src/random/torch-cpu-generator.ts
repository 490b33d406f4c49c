// torch's CPU random stream: the same seed gives the values of torch.randn(..., generator=torch.Generator('cpu')).
// Draws of fewer than 16 elements take a scalar path with its own cache; larger ones fill blocks of 16. The large
// float32 path of torch uses approximations of log, sin and cos, so single values may differ in the last bit.
// Reference: ATen/native/cpu/DistributionTemplates.h (behaviour; no code of it is used).

import { ArgumentError } from '@darkroom/core';
import { roundTo } from '@darkroom/core/backend';
import { Mt19937 } from './mt19937.ts';
import { checkCount, seedBits } from './seed.ts';
import type { Generator, RandomDType } from './generator.ts';

/** The state of a generator. */
export interface TorchCpuState {
  readonly seed: bigint;
  readonly words: Uint32Array;
  readonly used: number;
  /** The second value of the last scalar Box-Muller pair, if it was not handed out yet. */
  readonly nextNormal: number | undefined;
}

interface Kind {
  /** Random bits in one uniform value. */
  readonly bits: 24 | 53;
  /** Rounding of intermediate values: the half types compute in float32. */
  readonly compute: (x: number) => number;
  /** Rounding of the result. */
  readonly store: (x: number) => number;
  /** Half types draw the 16 values of a block only when they come to it, so that a rest wastes no draws. */
  readonly blockwise: boolean;
}

const exact = (x: number): number => x;
const half = (dtype: 'float16' | 'bfloat16'): Kind => {
  return { bits: 24, compute: Math.fround, store: (x) => roundTo(x, dtype), blockwise: true };
};
const kinds: Readonly<Record<RandomDType, Kind>> = {
  float32: { bits: 24, compute: Math.fround, store: Math.fround, blockwise: false },
  float16: half('float16'),
  bfloat16: half('bfloat16'),
  float64: { bits: 53, compute: exact, store: exact, blockwise: false },
};

/** Below this many elements torch draws one value at a time. */
const block = 16;

/** torch.Generator('cpu'): the same seed gives torch's values. @throws ArgumentError for bad seeds and counts */
export class TorchCpuGenerator implements Generator {
  readonly seed: bigint;
  readonly #engine: Mt19937;
  #nextNormal: number | undefined = undefined;

  /** torch uses only the low 32 bits of the seed. */
  constructor(seed: number | bigint = 67280421310721n) {
    this.seed = seedBits(seed);
    this.#engine = new Mt19937(Number(this.seed & 0xffffffffn));
  }

  randn(count: number, dtype: RandomDType = 'float32'): Float32Array | Float64Array {
    const kind = kindOf('randn', dtype);
    checkCount('randn', count);
    const out = allocate(count, dtype);
    if (count < block) {
      for (let i = 0; i < count; i++) out[i] = kind.store(this.#scalarNormal());
      return out;
    }
    const rest = count % block;
    const whole = count - rest;
    if (!kind.blockwise) this.#fill(out, 0, count, kind.bits);
    for (let i = 0; i < whole; i += block) {
      if (kind.blockwise) this.#fill(out, i, i + block, kind.bits);
      boxMuller(out, i, kind.compute);
    }
    if (rest > 0) {
      // The last 16 values are drawn anew as one block, over values that were already normal.
      this.#fill(out, count - block, count, kind.bits);
      boxMuller(out, count - block, kind.compute);
    }
    if (kind.store !== kind.compute) for (let i = 0; i < count; i++) out[i] = kind.store(out[i]!);
    return out;
  }

  /** `count` values from [0, 1), as torch.rand draws them. */
  uniform(count: number, dtype: RandomDType = 'float32'): Float32Array | Float64Array {
    const { bits, store } = kindOf('uniform', dtype);
    checkCount('uniform', count);
    const out = allocate(count, dtype);
    for (let i = 0; i < count; i++) {
      const value = store(this.#uniform(bits));
      out[i] = value === 1 ? 0 : value; // rounding to a half type can reach 1, which the range excludes
    }
    return out;
  }

  getState(): TorchCpuState {
    return { seed: this.seed, ...this.#engine.save(), nextNormal: this.#nextNormal };
  }

  /** A generator that goes on from `state`. */
  static fromState(state: TorchCpuState): TorchCpuGenerator {
    const g = new TorchCpuGenerator(state.seed);
    g.#engine.restore(state);
    g.#nextNormal = state.nextNormal;
    return g;
  }

  clone(): TorchCpuGenerator {
    return TorchCpuGenerator.fromState(this.getState());
  }

  /** The low `bits` bits of a draw, as a fraction of 1; 53 bits take two draws, the high word first. */
  #uniform(bits: 24 | 53): number {
    const word = this.#engine.next();
    if (bits === 24) return (word & 0xffffff) * 2 ** -24;
    return ((word & 0x1fffff) * 2 ** 32 + this.#engine.next()) * 2 ** -53;
  }

  #fill(out: Float32Array | Float64Array, start: number, stop: number, bits: 24 | 53): void {
    for (let i = start; i < stop; i++) out[i] = this.#uniform(bits);
  }

  #scalarNormal(): number {
    if (this.#nextNormal !== undefined) {
      const value = this.#nextNormal;
      this.#nextNormal = undefined;
      return value;
    }
    const angle = 2 * Math.PI * this.#uniform(53);
    const radius = Math.sqrt(-2 * Math.log1p(-this.#uniform(53)));
    this.#nextNormal = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }
}

function kindOf(what: string, dtype: RandomDType): Kind {
  if (Object.hasOwn(kinds, dtype)) return kinds[dtype];
  throw new ArgumentError(
    `${what}: dtype must be one of ${Object.keys(kinds).join(', ')}, got ${String(dtype)}`,
  );
}

function allocate(count: number, dtype: RandomDType): Float32Array | Float64Array {
  return dtype === 'float64' ? new Float64Array(count) : new Float32Array(count);
}

/** 16 uniforms at `start` → 16 normals: the first half gives radii, the second angles. */
function boxMuller(values: Float32Array | Float64Array, start: number, round: (x: number) => number): void {
  const turn = round(2 * Math.PI);
  for (let i = start; i < start + 8; i++) {
    const radius = round(Math.sqrt(round(-2 * round(Math.log(round(1 - values[i]!))))));
    const angle = round(turn * values[i + 8]!);
    values[i] = round(radius * round(Math.cos(angle)));
    values[i + 8] = round(radius * round(Math.sin(angle)));
  }
}
