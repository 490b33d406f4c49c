// The interface of random generators: streams of standard normal values, drawn on the host. Core's random op differs:
// it draws on the device and reproduces no other framework's stream.

/** dtypes a draw can be made in. The dtype is part of the stream: torch draws differently for each. */
export type RandomDType = 'float32' | 'float16' | 'bfloat16' | 'float64';

/** A stream of random values, rounded to the dtype asked for: a Float64Array for float64, else a Float32Array. */
export interface Generator {
  /** The seed it was made with. */
  readonly seed: bigint;
  /** `count` draws from the standard normal distribution, in row-major order of the tensor they are for. */
  randn(count: number, dtype?: RandomDType): Float32Array | Float64Array;
  /** A generator at the same place of the same stream. */
  clone(): Generator;
}
