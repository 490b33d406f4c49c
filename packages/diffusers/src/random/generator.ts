// What a source of random numbers is: a stream of standard normal values, drawn on the host.
// Not here: the random op of core, which draws on the device and reproduces no other framework's stream.

/** dtypes a draw can be made in. The dtype is part of the stream: torch draws differently for each. */
export type RandomDType = 'float32' | 'float16' | 'bfloat16' | 'float64';

/** Values already rounded to the dtype asked for; float64 gives a Float64Array, all others a Float32Array. */
export interface Generator {
  /** The seed it was made with. */
  readonly seed: bigint;
  /** `count` draws from the standard normal distribution, in row-major order of the tensor they are for. */
  randn(count: number, dtype?: RandomDType): Float32Array | Float64Array;
  /** A generator at the same place of the same stream. */
  clone(): Generator;
}
