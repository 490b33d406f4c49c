// The arguments of a kernel as raw bytes, laid out as in a C struct: made once for a kernel, changed before each
// launch.

/** A kernel parameter's type: `pointer` is any device address, `i64` a long long that fits 53 bits. */
export type ArgumentType = 'pointer' | 'i32' | 'u32' | 'f32' | 'i64';

const sizes: Readonly<Record<ArgumentType, number>> = { pointer: 8, i64: 8, i32: 4, u32: 4, f32: 4 };

export class ArgumentBlock {
  /** The argument block for a launch; it ends with the last argument, without padding. */
  readonly buffer: ArrayBuffer;
  readonly #view: DataView;
  readonly #offsets: readonly number[];
  readonly #types: readonly ArgumentType[];

  constructor(types: readonly ArgumentType[]) {
    let end = 0;
    this.#offsets = types.map((type) => {
      const size = sizes[type];
      const start = Math.ceil(end / size) * size;
      end = start + size;
      return start;
    });
    this.#types = types;
    this.buffer = new ArrayBuffer(end);
    this.#view = new DataView(this.buffer);
  }

  set(index: number, value: number): void {
    const offset = this.#offsets[index]!;
    switch (this.#types[index]!) {
      case 'i32':
        return this.#view.setInt32(offset, value, true);
      case 'u32':
        return this.#view.setUint32(offset, value, true);
      case 'f32':
        return this.#view.setFloat32(offset, value, true);
      case 'pointer':
      case 'i64': {
        const high = Math.floor(value / 2 ** 32);
        this.#view.setUint32(offset, value - high * 2 ** 32, true);
        return this.#view.setInt32(offset + 4, high, true);
      }
    }
  }

  /** All values, in order. */
  setAll(values: readonly number[]): this {
    for (let i = 0; i < values.length; i++) this.set(i, values[i]!);
    return this;
  }
}
