// torch's CUDA random stream on the host, so that a seed published for a CUDA run can be tried anywhere.
// Philox itself is checked against published vectors; the mapping of elements to threads and the Box-Muller
// transform follow the documented behaviour of torch and cuRAND and were NOT compared with a GPU.
// Reference: ATen/native/cuda/DistributionTemplates.h and the cuRAND device API guide (behaviour only).

import { ArgumentError } from '@darkroom/core';
import { roundTo } from '@darkroom/core/backend';
import type { Generator, RandomDType } from './generator.ts';
import { philox4x32 } from './philox.ts';
import { checkCount, seedBits } from './seed.ts';

/**
 * The GPU whose stream is reproduced. Draws up to 256 · multiprocessors · floor(threads / 256) elements (221,184 for
 * the default, an A100: more than a batch of 13 latents of 4×64×64) come out the same on every larger GPU.
 */
export interface CudaLayout {
  /** Default 108. */
  readonly multiProcessorCount?: number;
  /** Default 2048. */
  readonly maxThreadsPerMultiProcessor?: number;
}

const blockSize = 256;
/** Words that one call of the device generator takes from the counter. */
const wordsPerCall = 4;

/**
 * torch.Generator('cuda') on the host. Not compared with a GPU.
 * @throws ArgumentError for bad seeds, counts and layouts
 */
export class TorchCudaGenerator implements Generator {
  readonly seed: bigint;
  /** Words drawn so far in each thread's own subsequence; torch calls it the philox offset. */
  #offset: number;
  readonly #maxBlocks: number;
  readonly #layout: CudaLayout;

  constructor(seed: number | bigint, layout: CudaLayout = {}, offset = 0) {
    const { multiProcessorCount: processors = 108, maxThreadsPerMultiProcessor: threads = 2048 } = layout;
    if (!Number.isInteger(processors) || processors < 1) {
      throw new ArgumentError(`multiProcessorCount: must be an integer >= 1, got ${processors}`);
    }
    if (!Number.isInteger(threads) || threads < blockSize) {
      throw new ArgumentError(
        `maxThreadsPerMultiProcessor: must be an integer >= ${blockSize}, got ${threads}`,
      );
    }
    if (!Number.isSafeInteger(offset) || offset < 0 || offset % wordsPerCall !== 0) {
      throw new ArgumentError(`offset: must be a multiple of ${wordsPerCall}, got ${offset}`);
    }
    this.seed = seedBits(seed);
    this.#offset = offset;
    this.#layout = layout;
    this.#maxBlocks = processors * Math.floor(threads / blockSize);
  }

  get offset(): number {
    return this.#offset;
  }

  randn(count: number, dtype: RandomDType = 'float32'): Float32Array | Float64Array {
    checkCount('randn', count);
    const wide = dtype === 'float64';
    const out = wide ? new Float64Array(count) : new Float32Array(count);
    if (count === 0) return out;
    const perCall = wide ? 2 : 4;
    const threads = Math.min(Math.ceil(count / blockSize), this.#maxBlocks) * blockSize;
    const calls = Math.ceil(count / (threads * perCall));
    const words = new Uint32Array(4);
    const normals = new Float64Array(4);
    const half = dtype === 'float16' || dtype === 'bfloat16';
    const key = [Number(this.seed & 0xffffffffn), Number(this.seed >> 32n)] as const;
    for (let call = 0; call < calls; call++) {
      const at = this.#offset / wordsPerCall + call;
      const [low, high] = [at >>> 0, Math.floor(at / 2 ** 32) >>> 0];
      for (let thread = 0; thread < threads; thread++) {
        // Neighbouring threads hold neighbouring elements; a call's further values lie `threads` apart.
        const first = call * threads * perCall + thread;
        if (first >= count) break;
        philox4x32([low, high, thread, 0], key, words);
        if (wide) normals.set(pair64(words));
        else normals.set([...pair32(words[0]!, words[1]!), ...pair32(words[2]!, words[3]!)]);
        for (let k = 0; k < perCall && first + k * threads < count; k++) {
          const value = normals[k]!;
          out[first + k * threads] = half ? roundTo(value, dtype) : value;
        }
      }
    }
    this.#offset += calls * wordsPerCall;
    return out;
  }

  clone(): TorchCudaGenerator {
    return new TorchCudaGenerator(this.seed, this.#layout, this.#offset);
  }
}

/** Box-Muller in float32 on two words, the sine first. */
function pair32(x: number, y: number): readonly [number, number] {
  const f = Math.fround;
  const u = f(f(x) * 2 ** -32 + 2 ** -33);
  const step = f(2 ** -32 * f(2 * Math.PI));
  const angle = f(f(f(y) * step) + step / 2);
  const radius = f(Math.sqrt(f(-2 * f(Math.log(u)))));
  return [f(f(Math.sin(angle)) * radius), f(f(Math.cos(angle)) * radius)];
}

/** The same in float64: 53 bits from each pair of words. */
function pair64(words: Uint32Array): readonly [number, number] {
  const [a, b] = [bits53(words[0]!, words[1]!), bits53(words[2]!, words[3]!)];
  const radius = Math.sqrt(-2 * Math.log(a * 2 ** -53 + 2 ** -54));
  const angle = Math.PI * (b * 2 ** -52 + 2 ** -53);
  return [Math.sin(angle) * radius, Math.cos(angle) * radius];
}

/** low XOR (high · 2^21), a number of 53 bits. */
function bits53(low: number, high: number): number {
  const overlap = ((high << 21) >>> 0) ^ low;
  return Math.floor(high / 2 ** 11) * 2 ** 32 + (overlap >>> 0);
}
