// Writing .safetensors as a stream of chunks: header first, then each tensor in row-major order.

import type { DType } from '../dtype.ts';
import { encode } from '../dtype.ts';
import type { Tensor } from '../tensor.ts';

const kinds: Readonly<Record<DType, string>> = {
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  int32: 'I32',
  uint8: 'U8',
  bool: 'BOOL',
};

/** Chunks of a file that holds `tensors`, widest elements first so that every tensor is aligned. */
export async function* writeSafetensors(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): AsyncGenerator<Uint8Array> {
  const ordered = [...tensors].sort(([a, s], [b, t]) => width(t) - width(s) || (a < b ? -1 : a > b ? 1 : 0));
  const header: Record<string, unknown> = { __metadata__: metadata };
  let at = 0;
  for (const [name, t] of ordered) {
    header[name] = { dtype: kinds[t.dtype], shape: t.shape, data_offsets: [at, at + t.bytes] };
    at += t.bytes;
  }
  const text = JSON.stringify(header);
  const json = new TextEncoder().encode(text);
  const padded = Math.ceil(json.length / 8) * 8;
  const head = new Uint8Array(8 + padded).fill(0x20, 8);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, 8);
  yield head;
  for (const [, t] of ordered) yield encode(await t.data(), t.dtype);
}

const width = (t: Tensor): number => (t.elements === 0 ? 0 : t.bytes / t.elements);
