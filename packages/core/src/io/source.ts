// Bytes by range: weight files are read from a ByteSource, be it a local file, an HTTP resource, a Blob or memory.

/** A file of known size that is read by byte ranges. */
export interface ByteSource {
  /** For messages: a path or address. */
  readonly name: string;
  /** Total size in bytes. */
  readonly bytes: number;
  /** Exactly `length` bytes from `offset`; rejects when the range is outside the source. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Bytes that are in memory already. */
export function memorySource(data: Uint8Array, name = 'memory'): ByteSource {
  return {
    name,
    bytes: data.byteLength,
    async read(offset, length) {
      if (offset < 0 || offset + length > data.byteLength) {
        throw new RangeError(`${name}: bytes ${offset}+${length} are outside its ${data.byteLength}`);
      }
      return data.subarray(offset, offset + length);
    },
  };
}
