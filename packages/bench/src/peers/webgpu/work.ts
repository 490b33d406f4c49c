// The work of every candidate: three pieces of work and their inputs, the same numbers in every process.

export const workIds = ['matmul', 'conv', 'attention'] as const;
export type WorkId = (typeof workIds)[number];

export interface WorkInput {
  readonly shape: readonly number[];
  /** Values are uniform in ±limit. */
  readonly limit: number;
}

export interface Work {
  readonly title: string;
  /** matmul a, b; conv x [n, c, h, w], weight [o, c, h, w]; attention q, k, v [b, heads, l, d]. */
  readonly inputs: readonly WorkInput[];
  readonly outputShape: readonly number[];
  /** Multiplications and additions of the products; the softmax is not counted. */
  readonly flops: number;
}

const square = [1024, 1024] as const;
const image = [1, 320, 64, 64] as const;
const heads = [1, 8, 1024, 40] as const;

export const works: Readonly<Record<WorkId, Work>> = {
  matmul: {
    title: 'matmul 1024x1024x1024',
    inputs: [
      { shape: square, limit: 0.5 },
      { shape: square, limit: 0.5 },
    ],
    outputShape: square,
    flops: 2 * 1024 ** 3,
  },
  conv: {
    title: 'conv2d 3x3, 320 to 320 channels, 64x64, padding 1',
    inputs: [
      { shape: image, limit: 0.5 },
      { shape: [320, 320, 3, 3], limit: 0.5 },
    ],
    outputShape: image,
    flops: 2 * 64 * 64 * 320 * 320 * 9,
  },
  attention: {
    title: 'attention 8 heads x 1024 queries x 1024 keys x 40',
    // ±3 spreads the scaled scores by 3: the softmax is far from flat, and a wrong scale shows.
    inputs: [
      { shape: heads, limit: 3 },
      { shape: heads, limit: 3 },
      { shape: heads, limit: 3 },
    ],
    outputShape: heads,
    flops: 4 * 8 * 1024 * 1024 * 40,
  },
};

/** The inputs' values, row-major; the same on every call and in every process. */
export function inputsOf(id: WorkId): Float32Array<ArrayBuffer>[] {
  return works[id].inputs.map(({ shape, limit }, index) => {
    let state = (0x9e3779b9 * (index + 1)) >>> 0;
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < values.length; i++) {
      // xorshift32
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      state >>>= 0;
      values[i] = (state / 2 ** 31 - 1) * limit;
    }
    return values;
  });
}
