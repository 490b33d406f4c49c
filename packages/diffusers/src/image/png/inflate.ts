// Inflates a stream of known size: the result is bounded for any stream.

import { Unzlib } from 'fflate';
import type { Fail } from './chunks.ts';

/** Bytes passed to the library at once; it may inflate them to 1032 times as many. */
const piece = 16 * 1024;
const largestRatio = 1032;

/** The first `bytes` bytes of an inflated zlib stream, or fewer if it ends earlier. The rest is not inflated. */
export function inflateUpTo(parts: readonly Uint8Array[], bytes: number, fail: Fail): Uint8Array {
  const compressed = parts.reduce((n, part) => n + part.length, 0);
  const out = new Uint8Array(Math.min(bytes, compressed * largestRatio));
  let at = 0;
  const inflator = new Unzlib((chunk) => {
    const piece = chunk.subarray(0, out.length - at);
    out.set(piece, at);
    at += piece.length;
  });
  try {
    for (const part of parts) {
      for (let from = 0; from < part.length && at < out.length; from += piece)
        inflator.push(part.subarray(from, from + piece));
    }
  } catch (error) {
    return fail(`its data cannot be inflated (${(error as Error).message})`);
  }
  return out.subarray(0, at);
}
