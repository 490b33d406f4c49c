import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nullBackend } from '../backends/null.ts';
import { Device } from '../device.ts';
import { FormatError } from '../errors.ts';
import { openSafetensors } from './safetensors.ts';
import { memorySource } from './source.ts';

function file(header: unknown, dataBytes: number, pad = ''): Uint8Array {
  const json = new TextEncoder().encode((typeof header === 'string' ? header : JSON.stringify(header)) + pad);
  const out = new Uint8Array(8 + json.length + dataBytes);
  new DataView(out.buffer).setBigUint64(0, BigInt(json.length), true);
  out.set(json, 8);
  for (let i = 0; i < dataBytes; i++) out[8 + json.length + i] = i;
  return out;
}
const open = async (bytes: Uint8Array) => openSafetensors(memorySource(bytes, 'w.safetensors'));
const good = {
  a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] },
  b: { dtype: 'U8', shape: [3], data_offsets: [8, 11] },
};

test('a good file opens, whatever the padding of its header', async () => {
  const opened = await open(file(good, 11, '   '));
  expect([...opened.entries.keys()]).toEqual(['a', 'b']);
  expect([...(await opened.bytes('b'))]).toEqual([8, 9, 10]);
});

test.each<[string, Uint8Array, string]>([
  ['an empty file', new Uint8Array(0), '0 bytes cannot hold'],
  ['a header length beyond the file', file(good, 11).subarray(0, 20), 'truncated'],
  ['a huge header length', new Uint8Array([255, 255, 255, 255, 255, 255, 255, 127, 0]), 'header says'],
  ['a header that is not JSON', file('{"a":', 4), 'header is not JSON'],
  ['a header that is a list', file([], 0), 'not an object'],
  ['truncated data', file(good, 10), "tensor 'b' lies at 8..11 but the data has 10"],
  ['trailing data', file(good, 12), 'tensors take 11 bytes but the data has 12'],
  [
    'overlapping tensors',
    file({ ...good, b: { dtype: 'U8', shape: [4], data_offsets: [7, 11] } }, 11),
    'overlapping',
  ],
  ['a hole', file({ ...good, b: { dtype: 'U8', shape: [2], data_offsets: [9, 11] } }, 11), 'hole'],
  [
    'an unknown dtype',
    file({ a: { dtype: 'F31', shape: [2], data_offsets: [0, 8] } }, 8),
    'unknown dtype "F31"',
  ],
  [
    'a size that does not fit the shape',
    file({ a: { dtype: 'F32', shape: [3], data_offsets: [0, 8] } }, 8),
    '12 bytes, but its range has 8',
  ],
  ['a negative dimension', file({ a: { dtype: 'F32', shape: [-2], data_offsets: [0, 8] } }, 8), 'shape [-2]'],
  ['reversed offsets', file({ a: { dtype: 'F32', shape: [2], data_offsets: [8, 0] } }, 8), 'lies at 8..0'],
  ['metadata that is not strings', file({ __metadata__: { a: 1 } }, 0), '__metadata__'],
])('%s is refused', async (_, bytes, message) => {
  await expect(open(bytes)).rejects.toThrow(FormatError);
  await expect(open(bytes)).rejects.toThrow(message);
  await expect(open(bytes)).rejects.toThrow('w.safetensors');
});

test('a tensor of a dtype we do not compute with opens but does not load', async () => {
  const opened = await open(file({ a: { dtype: 'F8_E4M3', shape: [2], data_offsets: [0, 2] } }, 2));
  const device = new Device(nullBackend());
  await expect(opened.load('a', { device })).rejects.toThrow("tensor 'a' has dtype F8_E4M3");
  expect(device.memory().live).toBe(0);
});

test('I64 narrows to int32, or says which value does not fit', async () => {
  const bytes = file({ a: { dtype: 'I64', shape: [1], data_offsets: [0, 8] } }, 8);
  const device = new Device(nullBackend());
  await expect((await open(bytes)).load('a', { device })).rejects.toThrow('does not fit int32');
});

test('fuzz: random bytes and random edits give a FormatError or a consistent file, never anything else', async () => {
  const base = file(good, 11);
  const edits = fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  const candidates = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    edits.map((list) => {
      const copy = base.slice();
      for (const [at, value] of list) copy[at] = value;
      return copy;
    }),
    fc.nat(base.length).map((n) => base.slice(0, n)),
  );
  await fc.assert(
    fc.asyncProperty(candidates, async (bytes) => {
      try {
        const opened = await open(bytes);
        for (const name of opened.entries.keys()) {
          const entry = opened.entry(name);
          expect((await opened.bytes(name)).length).toBe(entry.end - entry.begin);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
      }
    }),
    { numRuns: 2000 },
  );
});
