// Builds one compute kernel and the data its dispatch needs. Shapes, strides and offsets are run-time parameters, so
// that one compiled kernel serves every size; what changes the text (dtypes, ranks, widths, tiles) makes another.
// The language of the texts is the subset of WGSL that is C++ too once declarations are rewritten: a backend assembles
// the parts in its own dialect.

import type { DType } from '@darkroom/core';
import type { ArgSpec } from '@darkroom/core/backend';
import { dtypes, UnsupportedOpError } from '@darkroom/core';
import { invariant, span } from '@darkroom/core/backend';
import { accessOf } from './access.ts';
import type { Access, BufferText, Width } from './access.ts';
import { bitsOfFloat, piecesOf } from './dispatch.ts';
import type { Binding, Dispatch, KernelDispatch, KernelText, Traits } from './dispatch.ts';

interface Param {
  readonly name: string;
  readonly type: 'u32' | 'f32' | 'i32';
  readonly word: number;
}

/** A fraction cut off here would be a wrong address there. */
function wordOf(name: string, value: number): number {
  invariant(Number.isInteger(value), `parameter ${name} is ${value}, not whole`);
  return value >>> 0;
}

/** One kernel's text under construction, with its parameters and bindings. */
export class Shader {
  readonly traits: Traits;
  readonly label: string;
  readonly #args: readonly ArgSpec[];
  readonly #params = new Map<string, Param>();
  readonly #words: number[] = [];
  readonly #buffers: BufferText[] = [];
  readonly #shared = new Map<string, KernelText['shared'][number]>();
  readonly #functions = new Map<string, string>();
  readonly #bindings: Binding[] = [];
  #reads = 0;
  #poolBytes = 0;
  readonly #offsets: Dispatch['offsets'][number][] = [];
  readonly #scalars: Dispatch['scalars'][number][] = [];

  constructor(traits: Traits, label: string, args: readonly ArgSpec[]) {
    this.traits = traits;
    this.label = label;
    this.#args = args;
  }

  /** A run-time number; the same name twice is the same parameter. Gives its text in the shader. */
  u32(name: string, value: number): string {
    return this.#param(name, 'u32', wordOf(name, value));
  }
  i32(name: string, value: number): string {
    return this.#param(name, 'i32', wordOf(name, value));
  }
  f32(name: string, value: number): string {
    return this.#param(name, 'f32', bitsOfFloat(value));
  }
  /** Run-time number i of the op, as a float or as half of an integer below 2^64. */
  scalar(i: number, bits: 'f32' | 'low' | 'high' = 'f32'): string {
    const name = `s${i}${bits === 'f32' ? '' : bits}`;
    const known = this.#params.has(name);
    const text = this.#param(name, bits === 'f32' ? 'f32' : 'u32', 0);
    if (!known) this.#scalars.push({ word: this.#params.get(name)!.word, scalar: i, bits });
    return text;
  }

  #param(name: string, type: Param['type'], word: number): string {
    const known = this.#params.get(name);
    if (known) {
      invariant(this.#words[known.word] === word && known.type === type, `parameter ${name} has two values`);
    } else {
      this.#params.set(name, { name, type, word: this.#words.length });
      this.#words.push(word);
    }
    return `P.${name}`;
  }

  /** Reads argument i as floats, named by its turn; width 4 reads quads and asks for offsets divisible by 4. */
  read(i: number, width: Width = 1, raw = false): Access {
    return this.#bind(i, `x${this.#reads++}`, this.#args[i]!.dtype, this.#bytes(i), width, 'read', raw);
  }
  /** Writes argument i (the output is the last). Two words written by one invocation never share memory. */
  write(i: number, width: Width = 1, raw = false): Access {
    return this.#bind(i, 'y', this.#args[i]!.dtype, this.#bytes(i), width, 'write', raw);
  }
  /** Scratch buffer k: `elements` float32 values. */
  scratch(k: number, elements: number, mode: 'read' | 'write', width: Width = 1): Access {
    return this.#bind(this.#args.length + k, `t${k}`, 'float32', 4 * elements, width, mode, false);
  }
  /** Pieces of 16 bytes of argument i, which then must start at a multiple of them; gives the text of a pointer, which only CUDA C++ has. */
  pieces(i: number): string {
    const name = `p${i}`;
    this.#bindings.push({ arg: i, piece: 0 });
    this.#buffers.push({ name, stored: 'vec4<u32>', mode: 'read' });
    const at = this.u32(`${name}_at`, 0);
    this.#offsets.push({ word: this.#params.get(`${name}_at`)!.word, arg: i, unitBytes: 16 });
    return `(${name} + ${at})`;
  }
  /** Asks for workgroup memory sized at launch: only in CUDA C++. */
  pool(bytes: number): void {
    this.#poolBytes = bytes;
  }

  #bytes(i: number): number {
    const { dtype, layout } = this.#args[i]!;
    return span(layout) * dtypes[dtype].bytes;
  }

  #bind(
    arg: number,
    name: string,
    dtype: DType,
    bytes: number,
    width: Width,
    mode: 'read' | 'write',
    raw: boolean,
  ): Access {
    const { bindingBytes } = this.traits;
    const pieces = piecesOf(bytes, bindingBytes);
    const access = accessOf({
      name,
      dtype,
      width,
      mode,
      raw,
      pieces,
      natives: this.traits.natives,
      bindingBytes,
    });
    for (let piece = 0; piece < pieces; piece++) this.#bindings.push({ arg, piece });
    this.#buffers.push(...access.buffers);
    for (const [fn, text] of access.functions) this.#functions.set(fn, text);
    const at = this.u32(`${name}_at`, 0);
    invariant(at === `P.${name}_at`, 'offset parameter');
    this.#offsets.push({
      word: this.#params.get(`${name}_at`)!.word,
      arg,
      unitBytes: width * dtypes[dtype].bytes,
    });
    return access;
  }

  /** Adds a function (or any module-scope text) once. */
  use(name: string, text: string): void {
    this.#functions.set(name, text);
  }
  /** A workgroup array; gives its name. */
  shared(name: string, type: string, length: number): string {
    this.#shared.set(name, { name, type, length });
    return name;
  }

  /** Coordinates `prefix0…` of the flat index `flat` in `shape`, as statements. */
  decode(prefix: string, flat: string, shape: readonly number[]): string {
    const lines = [`var ${prefix}_rest = ${flat};`];
    for (let d = shape.length - 1; d > 0; d--) {
      const size = this.u32(`${prefix}_n${d}`, shape[d]!);
      lines.push(`let ${prefix}${d} = ${prefix}_rest % ${size}; ${prefix}_rest = ${prefix}_rest / ${size};`);
    }
    lines.push(`let ${prefix}0 = ${prefix}_rest;`);
    return lines.join('\n  ');
  }

  /** Σ coordinate · stride as an expression; zero strides vanish, which makes them part of the text. */
  dot(name: string, prefix: string, strides: readonly number[]): string {
    const terms = strides.flatMap((s, d) =>
      s === 0 ? [] : [`${prefix}${d} * ${this.u32(`${name}_s${d}`, s)}`],
    );
    return terms.length === 0 ? '0u' : terms.join(' + ');
  }

  /**
   * The finished dispatch of `groups` workgroups of `threads` invocations. `body` sees `group` (its workgroup's number)
   * and `tid` (its own within the workgroup).
   */
  dispatch(threads: number, groups: number, body: string, unfused = false): KernelDispatch {
    const { bindings, bindingBytes } = this.traits;
    if (this.#bindings.length > bindings) {
      throw new UnsupportedOpError(
        `${this.label}: its arguments take ${this.#bindings.length} storage bindings of at most ${bindingBytes} bytes, ` +
          `this device has ${bindings}`,
      );
    }
    this.u32('groups', groups);
    return {
      text: {
        label: this.label,
        params: [...this.#params.values()].map(({ name, type }) => ({ name, type })),
        buffers: this.#buffers,
        shared: [...this.#shared.values()],
        poolBytes: this.#poolBytes,
        functions: [...this.#functions.values()],
        threads,
        unfused,
        body,
      },
      bindings: this.#bindings,
      params: Uint32Array.from(this.#words),
      offsets: this.#offsets,
      scalars: this.#scalars,
      groups,
    };
  }
}
