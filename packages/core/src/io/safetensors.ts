// Reading .safetensors by range, trusting nothing: the header is checked whole before any tensor is read.
// Format: 8 bytes little-endian header length, JSON header, data; offsets count from the start of the data.

import type { Device } from '../device.ts';
import { allocate } from '../dispatch.ts';
import type { DType } from '../dtype.ts';
import { dtypes, encode, isFloat } from '../dtype.ts';
import { FormatError, formatShape, shorten, shortJson } from '../errors.ts';
import { elementCount, layoutOf } from '../layout.ts';
import type { Tensor } from '../tensor.ts';
import { tensorFromBytes } from '../create.ts';
import { copy } from '../ops/copy.ts';
import { convertFloats } from './convert-floats.ts';
import { jsonSize } from './json-size.ts';
import type { ByteSource } from './source.ts';

/** Bits of an element by dtype name, so that types under a byte can be told apart from unknown ones. */
const elementBits: Readonly<Record<string, number>> = {
  BOOL: 8, U8: 8, I8: 8, F8_E5M2: 8, F8_E4M3: 8, I16: 16, U16: 16, F16: 16, BF16: 16,
  I32: 32, U32: 32, F32: 32, F64: 64, I64: 64, U64: 64, C64: 64,
  F4: 4, F6_E2M3: 6, F6_E3M2: 6, F8_E8M0: 8, F8_E4M3FNUZ: 8, F8_E5M2FNUZ: 8,
}; // prettier-ignore

/** Dtypes of the file that are read without a conversion. */
const direct: Readonly<Record<string, DType>> = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  I32: 'int32',
  U8: 'uint8',
  BOOL: 'bool',
};

/** One tensor of a safetensors file, as the header describes it. */
export interface SafetensorsEntry {
  readonly name: string;
  /** The dtype under the file's name for it: 'F32', 'I64', … */
  readonly kind: string;
  readonly shape: readonly number[];
  /** Byte range within the data section. */
  readonly begin: number;
  readonly end: number;
}

/** The limit of the format's own library. */
const maxHeaderBytes = 100_000_000;
/** The most JSON values of a header that is read; the header of a million tensors has fewer. */
const maxHeaderValues = 10_000_000;
const maxHeaderDepth = 64;
/** Weights are streamed to the device in pieces, so that host memory never holds a large tensor whole. */
const chunkBytes = 64 * 2 ** 20;

/**
 * An open safetensors file with a checked header; openSafetensors makes it. Tensors are read when they are asked for.
 */
export class SafetensorsFile {
  /** The source's name, for messages. */
  readonly name: string;
  /** The header's `__metadata__`; empty where the file has none. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The tensors by name, in the header's order. */
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly #source: ByteSource;
  readonly #dataStart: number;

  constructor(
    source: ByteSource,
    dataStart: number,
    metadata: Readonly<Record<string, string>>,
    entries: Map<string, SafetensorsEntry>,
  ) {
    this.name = source.name;
    this.#source = source;
    this.#dataStart = dataStart;
    this.metadata = metadata;
    this.entries = entries;
  }

  /** The entry of a tensor. @throws FormatError naming the file when it has no such tensor. */
  entry(name: string): SafetensorsEntry {
    const entry = this.entries.get(name);
    if (!entry) throw new FormatError(`${this.name}: has no tensor '${shorten(name)}'`);
    return entry;
  }

  /** The bytes of one tensor as they are in the file, little-endian. @throws FormatError when it is not in the file. */
  async bytes(name: string): Promise<Uint8Array> {
    const { begin, end } = this.entry(name);
    return this.#source.read(this.#dataStart + begin, end - begin);
  }

  /**
   * The dtype that `load` gives without a `dtype` option: I64 becomes int32, F64 float32.
   * @throws FormatError for a dtype that Darkroom does not compute with (float8, I8, …).
   */
  dtypeOf(name: string): DType {
    const { kind } = this.entry(name);
    const dtype = direct[kind] ?? (kind === 'I64' ? 'int32' : kind === 'F64' ? 'float32' : undefined);
    if (!dtype)
      throw new FormatError(
        `${this.name}: tensor '${shorten(name)}' has dtype ${kind}, which Darkroom does not compute with`,
      );
    return dtype;
  }

  /**
   * One tensor on `device`; a floating one is converted there to `dtype`.
   * @throws FormatError for a dtype that Darkroom does not compute with, or an I64 value outside int32.
   */
  async load(name: string, options: { device: Device; dtype?: DType }): Promise<Tensor> {
    const { device, dtype } = options;
    const entry = this.entry(name);
    const stored = this.dtypeOf(name);
    const raw = direct[entry.kind]
      ? await this.#stream(entry, stored, device)
      : tensorFromBytes(await this.#narrow(entry), entry.shape, stored, device);
    if (!dtype || dtype === stored || dtypes[stored].category !== 'float') return raw;
    const converted = copy(raw, { dtype });
    raw.dispose();
    return converted;
  }

  async #stream(entry: SafetensorsEntry, dtype: DType, device: Device): Promise<Tensor> {
    const out = allocate(device, { dtype, layout: layoutOf(entry.shape) });
    const { buffer } = out.storage('load');
    try {
      for (let at = entry.begin; at < entry.end; at += chunkBytes) {
        const n = Math.min(chunkBytes, entry.end - at);
        const bytes = await this.#source.read(this.#dataStart + at, n);
        device.backend.write({ buffer, offset: at - entry.begin, bytes: n }, bytes);
      }
      return out;
    } catch (error) {
      out.dispose();
      throw error;
    }
  }

  /** The elements of one tensor in host memory: the bits that `load` gives, without a device. @throws as load. */
  async read(name: string, options: { dtype?: DType } = {}): Promise<{ dtype: DType; bytes: Uint8Array }> {
    const entry = this.entry(name);
    const stored = this.dtypeOf(name);
    const dtype = options.dtype && isFloat(options.dtype) && isFloat(stored) ? options.dtype : stored;
    const convert = (bytes: Uint8Array): Uint8Array =>
      isFloat(stored) && isFloat(dtype) && dtype !== stored ? convertFloats(bytes, stored, dtype) : bytes;
    if (!direct[entry.kind]) return { dtype, bytes: convert(await this.#narrow(entry)) };
    const elements = elementCount(entry.shape);
    const out = new Uint8Array(elements * dtypes[dtype].bytes);
    let end = 0;
    for (let at = entry.begin; at < entry.end; at += chunkBytes) {
      const n = Math.min(chunkBytes, entry.end - at);
      const part = convert(await this.#source.read(this.#dataStart + at, n));
      out.set(part, end);
      end += part.byteLength;
    }
    return { dtype, bytes: out };
  }

  /** The elements of an F64 tensor as float32, of an I64 tensor as int32. */
  async #narrow(entry: SafetensorsEntry): Promise<Uint8Array> {
    const bytes = new Uint8Array(await this.bytes(entry.name)).buffer;
    if (entry.kind === 'F64') return encode(new Float64Array(bytes), 'float32');
    const values = Array.from(new BigInt64Array(bytes), Number);
    const bad = values.find((v) => v !== (v | 0));
    if (bad !== undefined)
      throw new FormatError(
        `${this.name}: tensor '${shorten(entry.name)}' holds ${bad}, which does not fit int32`,
      );
    return encode(values, 'int32');
  }
}

/** Reads and checks the header. @throws FormatError naming the file, the key and the rule that it breaks. */
export async function openSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  const fail = (message: string): never => {
    throw new FormatError(`${source.name}: not a valid safetensors file: ${message}`);
  };
  if (source.bytes < 8) fail(`${source.bytes} bytes cannot hold the header length`);
  const prefix = await source.read(0, 8);
  const length = Number(new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true));
  if (length > maxHeaderBytes || length > source.bytes - 8) {
    fail(
      `header says ${length} bytes but the file has ${source.bytes} (a truncated file, or not safetensors)`,
    );
  }
  const header = parseHeader(await source.read(8, length), fail);
  const dataBytes = source.bytes - 8 - length;
  const { metadata, entries } = checkEntries(header, dataBytes, fail);
  return new SafetensorsFile(source, 8 + length, metadata, entries);
}

type Fail = (message: string) => never;

function parseHeader(bytes: Uint8Array, fail: Fail): Record<string, unknown> {
  const parsed = <T>(parse: () => T): T => {
    try {
      return parse();
    } catch (error) {
      return fail(`header is not JSON (${shorten((error as Error).message)})`);
    }
  };
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const text = parsed(() => decoder.decode(bytes));
  const { depth, values } = jsonSize(text);
  if (depth > maxHeaderDepth) fail(`header is nested ${depth} deep, at most ${maxHeaderDepth} are read`);
  if (values > maxHeaderValues) fail(`header holds ${values} values, at most ${maxHeaderValues} are read`);
  const json = parsed((): unknown => JSON.parse(text));
  return isObject(json) ? json : fail('header is not an object');
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function checkEntries(
  header: Record<string, unknown>,
  dataBytes: number,
  fail: Fail,
): { metadata: Record<string, string>; entries: Map<string, SafetensorsEntry> } {
  const entries = new Map<string, SafetensorsEntry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') {
      if (value === null) continue; // an empty one, as the format's own library writes and reads it
      if (!isObject(value)) return fail(`__metadata__ is not a map of strings but ${shortJson(value)}`);
      const bad = Object.keys(value).find((key) => typeof value[key] !== 'string');
      if (bad !== undefined)
        fail(`__metadata__ is not a map of strings: '${shorten(bad)}' is ${shortJson(value[bad])}`);
      metadata = value as Record<string, string>;
    } else entries.set(name, checkEntry(name, value, dataBytes, fail));
  }
  let at = 0;
  for (const e of [...entries.values()].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (e.begin !== at)
      fail(
        `tensor '${shorten(e.name)}' starts at ${e.begin} where ${at} is due (overlapping tensors, or a hole)`,
      );
    at = e.end;
  }
  if (at !== dataBytes) fail(`tensors take ${at} bytes but the data has ${dataBytes}`);
  return { metadata, entries };
}

function checkEntry(name: string, value: unknown, dataBytes: number, fail: Fail): SafetensorsEntry {
  const at = `tensor '${shorten(name)}'`;
  if (!isObject(value)) return fail(`${at} is not described by an object`);
  const { dtype: kind, shape, data_offsets: offsets } = value;
  const isSize = (v: unknown): boolean => Number.isSafeInteger(v) && (v as number) >= 0;
  if (typeof kind !== 'string' || !Object.hasOwn(elementBits, kind))
    return fail(`${at} has unknown dtype ${shortJson(kind)}`);
  if (!Array.isArray(shape) || !shape.every(isSize)) return fail(`${at} has shape ${shortJson(shape)}`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return fail(`${at} has data_offsets ${shortJson(offsets)}`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes)
    fail(`${at} lies at ${begin}..${end} but the data has ${dataBytes} bytes`);
  const bytes = (elementCount(shape as number[]) * elementBits[kind]!) / 8;
  if (end - begin !== bytes) {
    fail(
      `${at} is ${kind}${shorten(formatShape(shape as number[]))}, ${bytes} bytes, but its range has ${end - begin}`,
    );
  }
  return { name, kind, shape: shape as number[], begin, end };
}
