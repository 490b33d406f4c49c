import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nullBackend } from '../backends/null.ts';
import { Device } from '../device.ts';
import { FormatError } from '../errors.ts';
import { fuzzRuns } from '../testing/fuzz-runs.ts';
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

const f32 = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
const a = JSON.stringify(f32);
const of = (dtype: string, shape: readonly number[], begin: number, end: number): object => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

// Files that the format's own library (safetensors 0.8.0) opens.
test.each<[string, unknown, number]>([
  ['metadata null', { __metadata__: null, a: f32 }, 8],
  ['metadata that is empty', { __metadata__: {}, a: f32 }, 8],
  ['metadata alone', { __metadata__: { a: 'b' } }, 0],
  ['metadata named __proto__', `{"__metadata__":{"__proto__":"x"},"a":${a}}`, 8],
  ['no tensors', {}, 0],
  ['space before the object', `  {"a":${a}}`, 8],
  ['space of every kind behind it', `{"a":${a}}  \n\t\r`, 8],
  ['a field that nobody knows', { a: { ...f32, more: { x: [1] } } }, 8],
  ['a name twice: the last counts', `{"a":{"dtype":"F32","shape":[9],"data_offsets":[8,44]},"a":${a}}`, 8],
  ['an empty name', { '': f32 }, 8],
  ['a name __proto__', `{"__proto__":${a}}`, 8],
  ['a scalar', { a: of('F32', [], 0, 4) }, 4],
  ['a tensor of no elements', { a: of('F32', [3, 0], 0, 0) }, 0],
  ['one behind another', { a: f32, z: of('F32', [0], 8, 8) }, 8],
  ['two of them, one before another', { y: of('U8', [0], 0, 0), z: of('F32', [0], 0, 0), a: f32 }, 8],
  ['tensors in another order than their data', { b: of('U8', [1], 8, 9), a: f32 }, 9],
  ['a tensor that is not aligned', { b: of('U8', [1], 0, 1), a: of('F32', [2], 1, 9) }, 9],
  ['F4, two in a byte', { a: of('F4', [16], 0, 8) }, 8],
  ['F6, four in three bytes', { a: of('F6_E2M3', [4], 0, 3) }, 3],
  ['F8_E8M0', { a: of('F8_E8M0', [8], 0, 8) }, 8],
  ['F8_E4M3FNUZ', { a: of('F8_E4M3FNUZ', [8], 0, 8) }, 8],
  ['C64', { a: of('C64', [1], 0, 8) }, 8],
])("%s is opened, as by the format's own library", async (_, header, bytes) => {
  const opened = await open(file(header, bytes));
  const device = new Device(nullBackend());
  for (const { name, kind, shape, begin, end } of opened.entries.values()) {
    expect((await opened.bytes(name)).length).toBe(end - begin);
    if (!['F32', 'U8'].includes(kind)) continue;
    using loaded = await opened.load(name, { device });
    expect(loaded.shape).toEqual(shape);
  }
  expect(Object.values(opened.metadata).every((v) => typeof v === 'string')).toBe(true);
});

// Files that the format's own library refuses.
test.each<[string, unknown, number, string]>([
  ['metadata of a number', { __metadata__: { x: 1 } }, 0, "__metadata__ is not a map of strings: 'x' is 1"],
  ['metadata of null', { __metadata__: { x: null } }, 0, "'x' is null"],
  ['nested metadata', { __metadata__: { x: { y: 'z' } } }, 0, '\'x\' is {"y":"z"}'],
  ['a list as metadata', { __metadata__: ['x'] }, 0, '__metadata__ is not a map of strings but ["x"]'],
  ['an empty list as metadata', { __metadata__: [] }, 0, 'but []'],
  ['a string as metadata', { __metadata__: 'x' }, 0, 'but "x"'],
  ['a byte order mark', `\ufeff{"a":${a}}`, 8, 'header is not JSON'],
  ['zeros behind the object', `{"a":${a}}\0\0`, 8, 'header is not JSON'],
  ['an empty header', '', 0, 'header is not JSON'],
  ['NaN', '{"__metadata__":NaN}', 0, 'header is not JSON'],
  ['null', 'null', 0, 'header is not an object'],
  ['a tensor that is null', { a: null }, 0, "tensor 'a' is not described by an object"],
  ['a tensor that is a list', { a: ['F32', [2], [0, 8]] }, 8, "tensor 'a' is not described by an object"],
  ['three offsets', { a: { ...f32, data_offsets: [0, 8, 9] } }, 8, "tensor 'a' has data_offsets [0,8,9]"],
  ['a hole in front', { a: of('F32', [2], 4, 12) }, 12, 'starts at 4 where 0 is due'],
  ['two tensors in one place', { a: f32, b: f32 }, 8, 'starts at 0 where 8 is due'],
  ['no elements inside another tensor', { a: f32, z: of('F32', [0], 4, 4) }, 8, 'starts at 4 where 8 is due'],
  ['no elements behind the data', { a: f32, z: of('F32', [0], 12, 12) }, 8, 'lies at 12..12'],
  [
    'a size beyond counting',
    { a: of('F32', [2 ** 53 - 1, 2 ** 53 - 1, 0, 2 ** 53 - 1], 0, 0) },
    8,
    'take 0 bytes',
  ],
  ['half a byte', { a: of('F4', [15], 0, 8) }, 8, '7.5 bytes'],
  ['a dtype in small letters', { a: of('f32', [2], 0, 8) }, 8, 'unknown dtype "f32"'],
  ['a dtype of the prototype', { a: of('constructor', [2], 0, 8) }, 8, 'unknown dtype "constructor"'],
  ['deep nesting', `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, 0, 'nested 100001 deep'],
  ['very many values', `{"a":[${'[],'.repeat(6e6)}0]}`, 0, 'values, at most 10000000'],
  ['a long name', { ['x'.repeat(1e6)]: null }, 0, 'is not described by an object'],
  ['a long dtype', { a: of('x'.repeat(1e6), [2], 0, 8) }, 8, 'unknown dtype "xxx'],
  ['a long shape', { a: of('F32', Array<number>(1e5).fill(2), 0, 8) }, 8, 'bytes, but its range has 8'],
  ['long metadata', { __metadata__: { ['x'.repeat(1e6)]: ['y'.repeat(1e6)] } }, 0, '__metadata__ is not'],
])('%s is refused, in one short message', async (_, header, bytes, message) => {
  const error: unknown = await open(file(header, bytes)).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(FormatError);
  expect((error as Error).message).toContain(message);
  expect((error as Error).message).toMatch(/^w\.safetensors: /);
  expect((error as Error).message.length).toBeLessThan(400);
});

/** Opens and loads everything; the error's message, or undefined. Any error but a FormatError comes through. */
async function outcome(bytes: Uint8Array): Promise<string | undefined> {
  const device = new Device(nullBackend());
  try {
    const opened = await open(bytes);
    for (const { name, shape, begin, end } of opened.entries.values()) {
      expect((await opened.bytes(name)).length).toBe(end - begin);
      using loaded = await opened.load(name, { device, dtype: 'float16' });
      expect(loaded.shape).toEqual(shape);
    }
    return undefined;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    expect(error.message).toMatch(/^w\.safetensors: /);
    expect(error.message.length).toBeLessThan(400);
    return error.message;
  } finally {
    expect(device.memory().live).toBe(0);
  }
}

const runs = fuzzRuns(2000);

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
    fc.asyncProperty(candidates, async (bytes) => void (await outcome(bytes))),
    runs,
  );
});

test('fuzz: headers of odd values give a FormatError or a consistent file, and touch no prototype', async () => {
  const number = fc.oneof(fc.nat(16), fc.constantFrom(-1, 0.5, 2 ** 31, 2 ** 53, 1e300));
  const any = fc.oneof(
    number,
    fc.json({ maxDepth: 1 }).map((t): unknown => JSON.parse(t)),
  );
  const tensor = fc.record({
    dtype: fc.oneof(fc.constantFrom('F32', 'F16', 'I64', 'F4', 'BOOL', 'toString', 'C64'), any),
    shape: fc.oneof(fc.array(fc.nat(3), { maxLength: 3 }), fc.array(number), any),
    data_offsets: fc.oneof(fc.tuple(fc.nat(16), fc.nat(16)), fc.array(number), any),
  });
  const name = fc.constantFrom('a', 'b', '', '__proto__', 'constructor', '__metadata__', 'x'.repeat(500));
  const header = fc
    .array(fc.tuple(name, fc.oneof({ weight: 4, arbitrary: tensor }, { weight: 1, arbitrary: any })), {
      maxLength: 3,
    })
    .map((entries) => Object.fromEntries(entries));
  const whole = fc
    .record({ dtype: fc.constantFrom('F32', 'U8', 'I32'), size: fc.nat(3) })
    .map(({ dtype, size }) => {
      const bytes = size * (dtype === 'U8' ? 1 : 4);
      return [{ a: of(dtype, [size], 0, bytes), __metadata__: null }, bytes] as const;
    });
  const before = Object.getOwnPropertyNames(Object.prototype);
  let opened = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.oneof({ weight: 8, arbitrary: fc.tuple(header, fc.nat(24)) }, { weight: 1, arbitrary: whole }),
      async ([given, bytes]) => {
        if ((await outcome(file(given, bytes))) === undefined) opened++;
      },
    ),
    runs,
  );
  expect(opened).toBeGreaterThan(0);
  expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(before);
});
