// Reads and writes of one argument's elements in a kernel, by dtype: as floats (or raw bits, for copies), one at a
// time or four. Types narrower than a word that a device cannot store share 32-bit words; single stores into them are
// atomic, since neighbours belong to other invocations. An argument wider than a binding is bound in pieces.

import type { DType } from '@darkroom/core';
import { dtypes } from '@darkroom/core';
import { conversions } from './conversions.ts';

/** Elements that one access reads or writes. */
export type Width = 1 | 4;

/** One storage binding: an array of `stored` values. 'atomic<u32>' where single narrow elements are stored. */
export interface BufferText {
  readonly name: string;
  readonly stored: string;
  readonly mode: 'read' | 'write';
}

/** Texts that read or write the elements of one argument; an index counts elements, or quads of them. */
export interface Access {
  readonly width: Width;
  /** Type of what get() gives and set() takes. */
  readonly type: string;
  readonly buffers: readonly BufferText[];
  readonly functions: ReadonlyMap<string, string>;
  /** Element (or quad) at an index expression. */
  get(index: string): string;
  /** As get() where `condition` holds, else zero; then the index may lie outside, and memory there is not read. */
  getIf(index: string, condition: string): string;
  /** The statement that stores `value` at an index expression. */
  set(index: string, value: string): string;
}

interface AccessOptions {
  readonly name: string;
  readonly dtype: DType;
  readonly width: Width;
  readonly mode: 'read' | 'write';
  readonly raw: boolean;
  readonly pieces: number;
  readonly natives: ReadonlySet<DType>;
  readonly bindingBytes: number;
}

/** `stored`: the array's element type; `load(a, e)`: unit e of array a; `store(a, e, v)`: statements. */
interface Form {
  readonly stored: string;
  readonly type: string;
  /** Conversion functions used. */
  readonly needs: readonly (keyof typeof conversions)[];
  load(a: string, e: string): string;
  store(a: string, e: string, v: string): string;
}

export function accessOf(o: AccessOptions): Access {
  const { name, width, mode, pieces } = o;
  const form = o.raw ? rawForm(o) : floatForm(o);
  const arrays = Array.from({ length: pieces }, (_, i) => (i === 0 ? name : `${name}_${i}`));
  const buffers = arrays.map((a): BufferText => ({ name: a, stored: form.stored, mode }));
  const functions = new Map<string, string>(form.needs.map((n) => [n, conversions[n]]));
  // Unit e of the argument is unit e - i·unit of piece i.
  const unit = o.bindingBytes / (width * dtypes[o.dtype].bytes);
  const choose = (body: (array: string, e: string) => string): string =>
    arrays
      .map((a, i) => {
        const text = body(a, i === 0 ? 'e' : `(e - ${i * unit}u)`);
        return i === pieces - 1 ? text : `if (e < ${(i + 1) * unit}u) { ${text} return; }`;
      })
      .join(' ');
  const head = `let e = P.${name}_at + i;`;
  const getter = choose((a, e) => `return ${form.load(a, e)};`).replaceAll('; return; }', '; }');
  functions.set(`${name}_get`, `fn ${name}_get(i: u32) -> ${form.type} { ${head} ${getter} }`);
  // Without a branch: the first element is always there.
  functions.set(
    `${name}_get_if`,
    `fn ${name}_get_if(i: u32, ok: bool) -> ${form.type} { return select(${form.type}(), ${name}_get(select(0u, i, ok)), ok); }`,
  );
  if (mode === 'write') {
    functions.delete(`${name}_get_if`);
    const setter = choose((a, e) => form.store(a, e, 'v'));
    functions.set(`${name}_set`, `fn ${name}_set(i: u32, v: ${form.type}) { ${head} ${setter} }`);
    if (form.stored.startsWith('atomic')) functions.delete(`${name}_get`); // loads would have to be atomic too
  }
  return {
    width,
    type: form.type,
    buffers,
    functions,
    get: (index) => `${name}_get(${index})`,
    getIf: (index, condition) =>
      condition === 'true' ? `${name}_get(${index})` : `${name}_get_if(${index}, ${condition})`,
    set: (index, value) => `${name}_set(${index}, ${value});`,
  };
}

const plain = (stored: string, type: string): Form => ({
  stored,
  type,
  needs: [],
  load: (a, e) => (stored === type ? `${a}[${e}]` : `${type}(${a}[${e}])`),
  store: (a, e, v) => (stored === type ? `${a}[${e}] = ${v};` : `${a}[${e}] = ${stored}(${v});`),
});

/** `per` elements share a word; `decode` turns an element's bits into the value, `encode` back. */
function packed(
  per: 2 | 4,
  mode: 'read' | 'write',
  type: string,
  decode: (bits: string) => string,
  encode: (value: string) => string,
  needs: Form['needs'],
): Form {
  const [shift, mask, size, ones] = per === 2 ? ['1u', '1u', 16, '0xffffu'] : ['2u', '3u', 8, '0xffu'];
  return {
    stored: mode === 'write' ? 'atomic<u32>' : 'u32',
    type,
    needs,
    load: (a, e) => decode(`((${a}[${e} >> ${shift}] >> ((${e} & ${mask}) * ${size}u)) & ${ones})`),
    store: (a, e, v) =>
      `let w = ${e} >> ${shift}; let s = (${e} & ${mask}) * ${size}u; ` +
      `atomicAnd(&${a}[w], ~(${ones} << s)); atomicOr(&${a}[w], (${encode(v)} & ${ones}) << s);`,
  };
}

/** Element types of devices that store narrow dtypes natively; converting to them rounds as encode() does. */
const nativeTypes: Readonly<Partial<Record<DType, string>>> = {
  float16: 'f16',
  bfloat16: 'bf16',
  uint8: 'u8',
  bool: 'boolean',
};

function floatForm({ dtype, width, mode, natives }: AccessOptions): Form {
  const quad = width === 4;
  const type = quad ? 'vec4<f32>' : 'f32';
  const native = nativeTypes[dtype];
  if (native !== undefined && natives.has(dtype)) return plain(quad ? `vec4<${native}>` : native, type);
  switch (dtype) {
    case 'float32':
      return plain(type, type);
    case 'int32':
      return {
        ...plain(quad ? 'vec4<i32>' : 'i32', type),
        needs: mode === 'write' ? ['to_i32'] : [],
        store: (a, e, v) =>
          quad
            ? `${a}[${e}] = vec4<i32>(to_i32(${v}.x), to_i32(${v}.y), to_i32(${v}.z), to_i32(${v}.w));`
            : `${a}[${e}] = to_i32(${v});`,
      };
    case 'float16':
      if (!quad)
        return packed(
          2,
          mode,
          type,
          (b) => `from_f16(${b})`,
          (v) => `to_f16(${v})`,
          ['from_f16', 'to_f16'],
        );
      return halves('from_f16', 'to_f16');
    case 'bfloat16':
      if (!quad)
        return packed(
          2,
          mode,
          type,
          (b) => `from_bf16(${b})`,
          (v) => `to_bf16(${v})`,
          ['from_bf16', 'to_bf16'],
        );
      return halves('from_bf16', 'to_bf16');
    case 'uint8':
    case 'bool': {
      const encode = dtype === 'uint8' ? 'to_u8' : 'to_bool';
      if (!quad)
        return packed(
          4,
          mode,
          type,
          (b) => `f32(${b})`,
          (v) => `${encode}(${v})`,
          [encode],
        );
      return {
        stored: 'u32',
        type,
        needs: [encode],
        load: (a, e) =>
          `vec4<f32>((vec4<u32>(${a}[${e}]) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu))`,
        store: (a, e, v) =>
          `${a}[${e}] = ${encode}(${v}.x) | (${encode}(${v}.y) << 8u) | (${encode}(${v}.z) << 16u) | (${encode}(${v}.w) << 24u);`,
      };
    }
  }
}

/** Four 16-bit elements in two words. */
function halves(decode: 'from_f16' | 'from_bf16', encode: 'to_f16' | 'to_bf16'): Form {
  const pair = (w: string): string => `${decode}(${w} & 0xffffu), ${decode}(${w} >> 16u)`;
  return {
    stored: 'vec2<u32>',
    type: 'vec4<f32>',
    needs: [decode, encode],
    load: (a, e) => `vec4<f32>(${pair(`${a}[${e}].x`)}, ${pair(`${a}[${e}].y`)})`,
    store: (a, e, v) =>
      `${a}[${e}] = vec2<u32>(${encode}(${v}.x) | (${encode}(${v}.y) << 16u), ${encode}(${v}.z) | (${encode}(${v}.w) << 16u));`,
  };
}

/** Bits as they are: copies between equal dtypes are exact, NaN payloads and large integers included. */
function rawForm({ dtype, width, mode, natives }: AccessOptions): Form {
  const { bytes } = dtypes[dtype];
  if (bytes === 4) return width === 4 ? plain('vec4<u32>', 'vec4<u32>') : plain('u32', 'u32');
  if (width === 4) return bytes === 2 ? plain('vec2<u32>', 'vec2<u32>') : plain('u32', 'u32');
  const native = nativeTypes[dtype];
  if (native !== undefined && natives.has(dtype)) return plain(native, native);
  const same = (x: string): string => x;
  return packed(bytes === 2 ? 2 : 4, mode, 'u32', same, same, []);
}
